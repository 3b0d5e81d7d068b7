"""Output that works on every terminal, pipe and file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from service.observability.log_format import escape

PIPE_WIDTH = 10_000
"""Columns of output that is no terminal: a line is never wrapped there."""


def make_console(*, stderr: bool = False) -> Console:
    """A console that colours only what it is told to, and wraps only on a terminal.

    By itself, rich colours every number, the 2 of phase-2 too, and wraps a pipe at 80 columns.
    Without colours if `NO_COLOR` is set.
    """
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def plain_text(text: object, style: str = "") -> Text:
    """Text as it is: without markup, and with control characters escaped."""
    return Text(escape(str(text)), style=style)


def print_json(data: object) -> None:
    """Print a result for programs on stdout."""
    Console().print_json(data=data, ensure_ascii=True)


def print_json_line(data: object) -> None:
    """Print a result of many on one line of stdout, at once."""
    print(json.dumps(data), flush=True)


def print_result(show: Callable[[Console], None], made: str) -> None:
    """Print the result of something that has happened.

    A result that cannot be printed is a warning on stderr, which says what was `made`: the
    exit status must not say that it failed.
    """
    try:
        show(make_console())
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as error:  # noqa: BLE001  see above
        discard_output()
        with suppress(OSError, ValueError):
            print(f"{made}, but its result cannot be printed: {error!r}", file=sys.stderr)


def discard_output() -> None:
    """Send what stdout still holds nowhere, so that the end of the process cannot fail."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
