"""The repository's own files, for the tests of its structure."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLIENT = Path("clients/python/nextvec")
"""The package of the client, which is a distribution of its own."""


@cache
def packages() -> tuple[str, ...]:
    """The top-level packages: all folders with an `__init__.py`, except the tests."""
    return tuple(
        sorted(
            folder.name
            for folder in ROOT.iterdir()
            if (folder / "__init__.py").exists() and folder.name != "tests"
        )
    )


@cache
def files() -> tuple[Path, ...]:
    """Every file under version control that exists, relative to `ROOT`, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return tuple(Path(name) for name in names if (ROOT / name).is_file())


@cache
def text(file: Path) -> str:
    """The text of a file; empty for one that is not UTF-8."""
    try:
        return (ROOT / file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def modules(*, tests: bool = False) -> tuple[Path, ...]:
    """Every Python file of the packages and the client, and of `tests` too if it is true."""
    folders = (*packages(), "tests") if tests else packages()
    return tuple(
        file
        for file in files()
        if file.suffix == ".py" and (file.parts[0] in folders or CLIENT in file.parents)
    )


@cache
def classes(*, tests: bool = False) -> dict[str, tuple[Path, ...]]:
    """Class names without leading underscores, each with the files that define it."""
    definitions: dict[str, tuple[Path, ...]] = {}
    for file in modules(tests=tests):
        # To parse all files takes seconds.
        tree = ast.parse(text(file) if "class " in text(file) else "")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                name = node.name.lstrip("_")
                definitions[name] = (*definitions.get(name, ()), file)
    return definitions
