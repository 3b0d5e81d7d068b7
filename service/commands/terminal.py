"""Output that works on every terminal, pipe and file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from service.observability.log_format import escape


def plain_text(text: object, style: str = "") -> Text:
    """Text as it is: without markup, and with control characters escaped."""
    return Text(escape(str(text)), style=style)


def print_result(show: Callable[[Console], None], made: str) -> None:
    """Print the result of something that has happened.

    A result that cannot be printed is a warning on stderr, which says what was `made`: the
    exit status must not say that it failed.
    """
    try:
        show(Console())
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
