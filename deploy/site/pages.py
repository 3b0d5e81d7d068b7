"""Gathers the site's sources: `docs/`, and pages that lie elsewhere in the repository.

Links between pages are rewritten to the places that the pages have on the site. A link to a file
that is not on the site is an error, so that the site never leads nowhere.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path, PurePosixPath

ELSEWHERE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "corpora/data/README.md": "project/sample-data.md",
    "requirements/README.md": "project/locks.md",
    "checkpoints/phase-2.md": "models/phase-2.md",
    "checkpoints/phase-3.md": "models/phase-3.md",
    "checkpoints/phase-3m.md": "models/phase-3m.md",
}
"""Pages outside `docs/`, and where the site has them."""

LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"(^```.*?^```\s*$)", re.MULTILINE | re.DOTALL)


class PageLinkError(Exception):
    """A page links to a file that the site does not have."""


def gather(root: Path, target: Path) -> None:
    """Write the sources of the repository `root` into the empty folder `target`.

    Raises `PageLinkError`.
    """
    places = site_places(root)
    for source, place in places.items():
        written = target / place
        written.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (root / source).read_text("utf-8")
            written.write_text(rewrite_links(text, source, places), "utf-8")
        else:
            shutil.copyfile(root / source, written)


def site_places(root: Path) -> dict[str, str]:
    """Each file of the site: its path in the repository, and its path on the site."""
    docs = root / "docs"
    found = {
        str(PurePosixPath(file.relative_to(root))): str(PurePosixPath(file.relative_to(docs)))
        for file in sorted(docs.rglob("*"))
        if file.is_file()
    }
    return found | ELSEWHERE


def rewrite_links(text: str, source: str, places: dict[str, str]) -> str:
    """The page's text with every relative link as it has to be on the site.

    `source` is the page's path in the repository. Code blocks stay as they are. Raises
    `PageLinkError`.
    """
    here = posixpath.dirname(places[source])

    def moved(link: re.Match[str]) -> str:
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        if aim == "README.md":
            aim = "docs/index.md"
        if aim not in places:
            raise PageLinkError(f"{source} links to {link[2]}, which is not on the site")
        return f"{link[1]}{posixpath.relpath(places[aim], here or '.')}{link[3]}"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts)
