"""A recipe: everything that decides a training run, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from model_export.architecture import DIM, MemoryAugmentedGRU
from model_export.decayed_means import DecayedMeans

ARCHITECTURES = (MemoryAugmentedGRU.ARCHITECTURE, DecayedMeans.ARCHITECTURE)
TARGETS = ("every", "last")
PRECISIONS = ("fp32", "bf16")

_ACCEPTED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "tuple[float, ...]": (list,),
}
_POSITIVE = (
    "window",
    "batch",
    "accumulate",
    "stride",
    "epochs",
    "learning_rate",
    "temperature",
    "width",
)


class RecipeError(Exception):
    """The recipe cannot be used; names the field."""


@dataclass(frozen=True)
class Recipe:
    """Units: window and stride in vectors, rates per optimiser step.

    `batch` counts sequences of the Memory-Augmented GRU, positions of the Decayed
    Means; `accumulate` of them make one step of the optimiser. `targets` are
    `every` vector of a sequence (sequences meet end to end, and `stride` is not
    read), or its `last` alone (a sequence begins every `stride` vectors).
    `decays` and `width` are of the Decayed Means, `gate_bias` of the other.
    `patience` 0 keeps the last epoch: the held-out documents then choose nothing.
    """

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
    seed: int
    architecture: str = MemoryAugmentedGRU.ARCHITECTURE
    targets: str = "every"
    stride: int = 1
    accumulate: int = 1
    gate_bias: float = 0.0
    decays: tuple[float, ...] = ()
    width: int = 384
    precision: str = "fp32"


def load(path: Path) -> Recipe:
    """The recipe in `path`. Raises `RecipeError` on an unknown, missing or absurd field."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    known = {field.name: str(field.type) for field in fields(Recipe)}
    needed = {field.name for field in fields(Recipe) if field.default is MISSING}
    if unknown := sorted(content.keys() - known.keys()):
        raise RecipeError(f"{path}: unknown {', '.join(unknown)}")
    if missing := sorted(needed - content.keys()):
        raise RecipeError(f"{path}: missing {', '.join(missing)}")
    for name, value in content.items():
        if not isinstance(value, _ACCEPTED[known[name]]) or isinstance(value, bool):
            raise RecipeError(f"{path}: {name} is not a {known[name]}")
        if isinstance(value, int | float) and value < 0:
            raise RecipeError(f"{path}: {name} is negative")
        if name in _POSITIVE and value == 0:
            raise RecipeError(f"{path}: {name} is zero")
    _check_choices(path, content)
    content["decays"] = tuple(content.get("decays", ()))
    return Recipe(**content)


def _check_choices(path: Path, content: dict[str, Any]) -> None:
    """Fields that are one of several words, and what an architecture needs."""
    for name, choices in (
        ("architecture", ARCHITECTURES),
        ("targets", TARGETS),
        ("precision", PRECISIONS),
    ):
        if name in content and content[name] not in choices:
            raise RecipeError(f"{path}: {name} is not one of {', '.join(choices)}")
    decays = content.get("decays", [])
    if not all(isinstance(decay, float) and 0 < decay < 1 for decay in decays):
        raise RecipeError(f"{path}: decays are not all between 0 and 1")
    if content.get("width", 1) > DIM:
        raise RecipeError(f"{path}: width is more than {DIM}")
    if (content.get("architecture") == DecayedMeans.ARCHITECTURE) != bool(decays):
        raise RecipeError(
            f"{path}: decays go with {DecayedMeans.ARCHITECTURE}, which needs at least one"
        )
    if decays and content.get("targets", "every") != "every":
        raise RecipeError(f"{path}: {DecayedMeans.ARCHITECTURE} takes every target")
    if not decays and content.get("precision", "fp32") != "fp32":
        raise RecipeError(f"{path}: {MemoryAugmentedGRU.ARCHITECTURE} trains in fp32 alone")


def override(recipe: Recipe, **values: int | None) -> Recipe:
    """`recipe` with the values that are not None in place of its own."""
    given = {name: value for name, value in values.items() if value is not None}
    if bad := sorted(name for name, value in given.items() if value < (name != "seed")):
        raise RecipeError(f"{bad[0]} is {given[bad[0]]}: too small")
    return replace(recipe, **given)  # type: ignore[arg-type]  # names are checked by replace
