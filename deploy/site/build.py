"""Builds the documentation's site into `out/site`, without a warning and without the network.

python -m deploy.site.build            # make docs
python -m deploy.site.build --out DIR  # into another folder
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.site.links import faults
from deploy.site.pages import gather

ROOT = Path(__file__).resolve().parents[2]


class SiteBuildError(Exception):
    """The site cannot be built as it should be; the message has the builder's output."""


def build(root: Path, out: Path) -> Path:
    """Build the site of the repository `root` in the folder `out`; return its folder of pages.

    Raises `SiteBuildError` for a warning of the builder, a link that leads nowhere, a picture
    without text, or anything that is loaded from another host.
    """
    shutil.rmtree(out, ignore_errors=True)
    gather(root, out / "docs")
    shutil.copyfile(root / "mkdocs.yml", out / "mkdocs.yml")
    tool = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(  # noqa: S603
        [str(tool), "build", "--strict", "--clean", "--config-file", "mkdocs.yml"],
        cwd=out,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    if done.returncode or "warning" in output.lower():
        raise SiteBuildError(output)
    found = list(faults(out / "site"))
    if found:
        raise SiteBuildError("\n".join(found))
    return out / "site"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "site")
    try:
        built = build(ROOT, parser.parse_args().out)
    except SiteBuildError as error:
        raise SystemExit(f"the site has faults:\n{error}") from error
    pages = sum(1 for _ in built.rglob("*.html"))
    print(f"{pages} pages in {built}; to read them: python -m http.server --directory {built}")


if __name__ == "__main__":
    main()
