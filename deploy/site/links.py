"""Checks a built site: its links lead somewhere, and it loads nothing from other hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("object", "data"),
    ("video", "src"),
}
"""Tags and attributes whose address a browser loads by itself."""

NOT_LOADED = {"canonical", "prev", "next", "alternate"}
"""Relations of `<link>` that name a page and load nothing."""

CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?:https?:)?//[^)"'\s]+""")


@dataclass
class PageContents(HTMLParser):
    """Ids, links and loaded addresses of one page."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    without_text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "img" and not found.get("alt", "").strip():
            self.without_text.append(found.get("src", ""))
        for name in {name for of, name in LOADED if of == tag} & found.keys():
            if tag != "link" or found.get("rel") not in NOT_LOADED:
                self.loaded.append(found[name])


def faults(site: Path) -> Iterator[str]:
    """Each fault of the site, as a sentence that names the page."""
    pages = {page: read(page) for page in sorted(site.rglob("*.html"))}
    for page, contents in pages.items():
        name = page.relative_to(site)
        for address in contents.loaded:
            if is_external(address):
                yield f"{name} loads {address}"
        for address in [*contents.links, *contents.loaded]:
            if not is_external(address) and (fault := _fault(site, page, address, pages)):
                yield f"{name}: {fault}"
        for source in contents.without_text:
            yield f"{name}: the picture {source} has no alternative text"
    for sheet in sorted(site.rglob("*.css")):
        for found in CSS_ADDRESS.finditer(sheet.read_text("utf-8")):
            yield f"{sheet.relative_to(site)} loads {found[0]}"


def read(page: Path) -> PageContents:
    """The contents of a page."""
    contents = PageContents()
    contents.feed(page.read_text("utf-8"))
    return contents


def is_external(address: str) -> bool:
    """Whether the address is on another host, or is no address of a file."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in {"", "file"}


def _fault(site: Path, page: Path, address: str, pages: dict[Path, PageContents]) -> str | None:
    parts = urlsplit(address)
    path = unquote(parts.path)
    base = site if path.startswith("/") else page.parent
    aim = (base / path.lstrip("/")).resolve() if path else page
    if aim.is_dir():
        aim = aim / "index.html"
    if not aim.is_relative_to(site.resolve()) and path:
        return f"{address} leads out of the site"
    if not aim.exists():
        return f"{address} leads nowhere"
    known = pages.get(aim) or pages.get(page if not path else aim)
    if parts.fragment and known is not None and unquote(parts.fragment) not in known.ids:
        return f"{address} names no place on its page"
    return None
