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
    "moved",
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
    `decays` and `width` are of the Decayed Means, `gate_bias` of the other. Theirs alone
    too are `shares`, what the start takes of the last vector and of each mean (none: of
    the recent ones 1, of the slow ones a tenth); `whitening`, the exponent by which the
    start evens out its directions' variances; and `stretch`: how many vectors, next to each
    other in the stream, a batch's positions are drawn from (0: all of it). `moved` is the
    share of training's change that is kept, the rest being the start's.
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
    shares: tuple[float, ...] = ()
    whitening: float = 0.0
    stretch: int = 0
    moved: float = 1.0
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
    for name in ("decays", "shares"):
        content[name] = tuple(content.get(name, ()))
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
    _check_means(path, content)


def _check_means(path: Path, content: dict[str, Any]) -> None:
    """What the Decayed Means need, and what they alone can have."""
    decays, shares = content.get("decays", []), content.get("shares", [])
    means = content.get("architecture") == DecayedMeans.ARCHITECTURE
    most = {"width": DIM, "whitening": 1, "moved": 1}
    above = [name for name in most if content.get(name, 0) > most[name]]
    only = [name for name in ("shares", "whitening", "stretch") if content.get(name)]
    refusals = (
        (
            not all(isinstance(decay, float) and 0 < decay < 1 for decay in decays),
            "decays are not all between 0 and 1",
        ),
        (
            means != bool(decays),
            f"decays go with {DecayedMeans.ARCHITECTURE}, which needs at least one",
        ),
        (
            not means and bool(only),
            f"{', '.join(only)} go with {DecayedMeans.ARCHITECTURE} alone",
        ),
        (
            not all(isinstance(share, int | float) and share >= 0 for share in shares),
            "shares are not all numbers from 0 on",
        ),
        (
            bool(shares) and len(shares) != len(decays) + 1,
            "shares are not one for the last vector and one a decay",
        ),
        *((True, f"{name} is more than {most[name]}") for name in above),
        (
            0 < content.get("stretch", 0) < content["batch"],
            "stretch is less than the batch that is drawn from it",
        ),
        (
            means and content.get("targets", "every") != "every",
            f"{DecayedMeans.ARCHITECTURE} takes every target",
        ),
        (
            not means and content.get("precision", "fp32") != "fp32",
            f"{MemoryAugmentedGRU.ARCHITECTURE} trains in fp32 alone",
        ),
    )
    for refused, why in refusals:
        if refused:
            raise RecipeError(f"{path}: {why}")


def override(recipe: Recipe, **values: int | None) -> Recipe:
    """`recipe` with the values that are not None in place of its own."""
    given = {name: value for name, value in values.items() if value is not None}
    if bad := sorted(name for name, value in given.items() if value < (name != "seed")):
        raise RecipeError(f"{bad[0]} is {given[bad[0]]}: too small")
    return replace(recipe, **given)  # type: ignore[arg-type]  # names are checked by replace
