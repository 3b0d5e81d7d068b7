"""Prints what pyproject.toml requires with some of its extras, one requirement a line.

    python -m deploy.supply_chain.direct_requirements export,dev

pip checks hashes only for requirements that it gets by themselves: not for a project folder.
Needs the standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
OWN_EXTRAS = re.compile(r"nextvec\[(?P<extras>[\w,-]+)\]")


def direct_requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """The requirements of the `[project]` table with `extras`; an extra may name other extras.

    Raises KeyError for an extra that does not exist.
    """
    found = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = OWN_EXTRAS.fullmatch(requirement)
            found += (
                direct_requirements(project, own["extras"].split(",")) if own else [requirement]
            )
    return list(dict.fromkeys(found))


def main() -> None:
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    extras = [extra for extra in sys.argv[1].split(",") if extra]
    print(*direct_requirements(project, extras), sep="\n")


if __name__ == "__main__":
    main()
