"""Names that a JSON object has twice. The parser would keep the last value in silence."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import orjson

from service.errors import Invalid, quoted

_STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(?:[ \t\n\r]*(:))?', re.DOTALL)
"""A string. In valid JSON, one with a colon behind it is a name."""


def check_once(content: bytes | memoryview, parsed: Any) -> None:
    """Raise `Invalid` if an object of the valid JSON `content` has a name twice.

    The names of the text are counted against those of `parsed`. That costs little for bodies that
    are nearly all numbers: a second parser would take ten times as long as the first.
    """
    written = [name for name, colon in _STRING.findall(content) if colon]
    if len(written) == len(_names(parsed)):
        return
    names = Counter(orjson.loads(b'"%b"' % name) for name in written)
    names -= Counter(_names(parsed, within_numbers=True))
    if names:
        name = next(iter(names))
        raise Invalid(f"the field {quoted(name)} is given twice", "conflicting_parameter")


def _names(parsed: Any, *, within_numbers: bool = False) -> list[str]:
    """The names of all objects in `parsed`; also of those in lists that begin with a number."""
    names: list[str] = []
    waiting = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            names += value
            waiting += value.values()
        elif isinstance(value, list) and (
            within_numbers or not (value and isinstance(value[0], int | float))
        ):
            waiting += value
    return names
