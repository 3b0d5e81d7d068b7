"""Ids of sessions, which callers choose."""

from __future__ import annotations

import re

PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
RULE = "1 to 128 letters, digits, dots, underscores, colons or hyphens, and neither . nor .."

_USABLE = re.compile(PATTERN.replace("$", r"\Z"))


def is_usable(text: str) -> bool:
    """Return whether `text` may be a session's id.

    "." and ".." may not: clients remove such segments from a path before they send it.
    """
    return _USABLE.match(text) is not None and text not in {".", ".."}
