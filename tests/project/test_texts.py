"""What no file of the repository contains."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.sources import files, text

THIS = Path("tests/project/test_texts.py")
HABITS = re.compile(
    r"(?<![a-z])(?:anew|whilst|thereby|hereby|amongst|henceforth|hitherto|whence)(?![a-z])"
    r"|\bas it must\b|\bones than\b|(?<![a-z])fores(?:ee|aw)\w*|\bwhereof\b"
    r"|\b(?:every|each|two|another) looks?\b",
    re.IGNORECASE,
)
HOSTS_AND_PATHS = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|(?<![\w.])/(?:work|root)/\w"
)
SYS_PATH = re.compile(r"\bsys\.path\b")
OTHER_ASYNC_STYLES = re.compile(r"\basyncio\.run\(|\banyio\.run\(|mark\.(?:anyio|asyncio)\b")


def found(pattern: re.Pattern[str], among: list[Path]) -> list[str]:
    """`file:line: match` of each occurrence."""
    return [
        f"{file}:{number}: {match.group()}"
        for file in among
        if file != THIS
        for number, line in enumerate(text(file).splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def test_the_search_finds_what_it_looks_for():
    assert HABITS.search("It is tried Anew.")
    assert HABITS.search("test_it_begins_anew")
    assert HOSTS_AND_PATHS.search("cd /work/main")
    assert not HOSTS_AND_PATHS.search("tests/work/main and ./root/x")


def test_code_and_documents_are_in_plain_english():
    assert [] == found(HABITS, [file for file in files() if file.name != "LICENSE"])


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    assert [] == found(HOSTS_AND_PATHS, [*files()])


def test_no_test_changes_the_path_of_imports():
    assert [] == found(SYS_PATH, [file for file in files() if file.parts[0] == "tests"])


def test_async_tests_are_async_functions():
    """They run on asyncio without a mark (`anyio_mode = "auto"`)."""
    tests = [file for file in files() if file.name.startswith("test_")]
    assert [] == found(OTHER_ASYNC_STYLES, tests)
