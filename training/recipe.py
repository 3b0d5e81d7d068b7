"""A recipe: everything that decides a training run, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

_ACCEPTED: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}


class RecipeError(Exception):
    """The recipe cannot be used; names the field."""


@dataclass(frozen=True)
class Recipe:
    """Units: window and batch in vectors and rows, rates per optimiser step."""

    name: str
    window: int
    batch: int
    epochs: int
    learning_rate: float
    weight_decay: float
    alpha: float
    temperature: float
    dropout: float
    gradient_clip: float
    patience: int
    gate_bias: float
    seed: int


def load(path: Path) -> Recipe:
    """The recipe in `path`. Raises `RecipeError` on an unknown, missing or absurd field."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    known = {field.name: field.type for field in fields(Recipe)}
    if unknown := sorted(content.keys() - known.keys()):
        raise RecipeError(f"{path}: unknown {', '.join(unknown)}")
    if missing := sorted(known.keys() - content.keys()):
        raise RecipeError(f"{path}: missing {', '.join(missing)}")
    for name, kind in known.items():
        wanted = _ACCEPTED[str(kind)]
        if not isinstance(content[name], wanted) or isinstance(content[name], bool):
            raise RecipeError(f"{path}: {name} is not a {kind}")
        if kind != "str" and content[name] < 0:
            raise RecipeError(f"{path}: {name} is negative")
    for name in ("window", "batch", "epochs", "learning_rate", "temperature", "patience"):
        if content[name] == 0:
            raise RecipeError(f"{path}: {name} is zero")
    return Recipe(**content)


def override(recipe: Recipe, **values: int | None) -> Recipe:
    """`recipe` with the values that are not None in place of its own."""
    given = {name: value for name, value in values.items() if value is not None}
    if bad := sorted(name for name, value in given.items() if value < (name != "seed")):
        raise RecipeError(f"{bad[0]} is {given[bad[0]]}: too small")
    return replace(recipe, **given)  # type: ignore[arg-type]  # names are checked by replace
