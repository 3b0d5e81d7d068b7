"""Messages about names that are not known, with the nearest name that is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_SHOWN = 64


def describe_unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Say that `name` is not one of the `known`, and which is the nearest.

    `kind` says what has the name: "field", "query parameter", "setting".
    """
    shown = name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"
    nearest = nearest_name(name, known)
    if nearest is not None:
        return f"there is no {kind} {shown!r}; did you mean {nearest!r}?"
    if not known:
        return f"there is no {kind} {shown!r}; none is accepted here"
    return f"there is no {kind} {shown!r}; there are: {', '.join(sorted(known))}"


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """The known name that is nearest to `name`, whatever their case; None if none is near."""
    by_lower = {other.lower(): other for other in known}
    # Longer names are not compared: the comparison takes quadratic time.
    wanted = name[:_SHOWN].lower()
    found = get_close_matches(wanted, by_lower, n=1)
    if not found and len(wanted) >= 3:
        found = [other for other in by_lower if other.startswith(wanted)]
    return by_lower[found[0]] if found else None


def validation_message(error: Mapping[str, Any], annotation: Any) -> str:
    """The message of one of pydantic's errors in a value of the type `annotation`; for an
    unknown field, with the nearest name."""
    path: Sequence[str | int] = error["loc"]
    if error["type"] != "extra_forbidden":
        return str(error["msg"]).removeprefix("Value error, ")
    return describe_unknown("field", str(path[-1]), _fields_at(annotation, path[:-1]))


def _fields_at(annotation: Any, path: Sequence[str | int]) -> list[str]:
    """The names of the fields of the models to which `path` leads."""
    models = list(_models_in(annotation))
    for part in path:
        found = [m.model_fields[part] for m in models if part in m.model_fields]
        # An index, or the key of a mapping, leads into the same annotation.
        models = [each for field in found for each in _models_in(field.annotation)] or models
    return [name for each in models for name in each.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
