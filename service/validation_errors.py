"""pydantic's errors as text: the field, and what is wrong with it."""

from __future__ import annotations

from pydantic import ValidationError


def first_error(error: ValidationError) -> str:
    """The first wrong field with its message, `sets.0.pool.size: Input should be …`."""
    return _messages(error)[0]


def all_errors(error: ValidationError) -> str:
    """Every wrong field with its message, `window: Input should be greater than 0; …`."""
    return "; ".join(_messages(error))


def _messages(error: ValidationError) -> list[str]:
    """Without the values, which may be secret or long."""
    found = []
    for item in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        found.append(f"{field}: {message}" if field else message)
    return found
