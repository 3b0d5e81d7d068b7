"""Every `nextvec` command in a code block of the documentation can be parsed."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from service.cli import app
from tests.support.sources import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(
            r"^```(?:sh|bash|console)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.removeprefix("$ ") for line in lines]
    return sorted({line for line in found if re.match(r"(\.venv/bin/)?nextvec [a-z]", line)})


def parse(words: list[str]) -> None:
    """Parse the words as `main` does, without running the command."""
    command = get_command(app)
    context = command.make_context("nextvec", words)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def test_there_are_commands():
    assert len(commands()) > 20


@pytest.mark.parametrize("line", commands())
def test_a_documented_command_is_valid(line):
    words = shlex.split(line, comments=True)[1:]
    ends = [i for i, word in enumerate(words) if word in {"&", "&&", "|", ">"}]
    words = words[: min(ends, default=len(words))]
    parse(words)
