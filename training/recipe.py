"""A recipe: everything that decides a training run, read from a TOML file."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from architectures.checkpoint import LARGEST_STATE
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM, MemoryAugmentedGRU

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
    "gradient_clip",
    "width",
    "moved",
)

_LARGEST = 2**63
"""What a generator of random numbers takes as its seed is below."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    known = {field.name: str(field.type) for field in fields(Recipe)}
    needed = {field.name for field in fields(Recipe) if field.default is MISSING}
    if unknown := sorted(content.keys() - known.keys()):
        raise RecipeError(f"{path}: unknown {', '.join(unknown)}")
    if missing := sorted(needed - content.keys()):
        raise RecipeError(f"{path}: missing {', '.join(missing)}")
    for name, value in content.items():
        if why := _wrong(name, value, known[name]):
            raise RecipeError(f"{path}: {name} {why}")
    if not _FILE_NAME.fullmatch(content["name"]):
        raise RecipeError(f"{path}: name {content['name']!r} cannot be a file's name")
    if content["dropout"] >= 1:
        raise RecipeError(f"{path}: dropout is {content['dropout']}: nothing would be left")
    _check_choices(path, content)
    for name in ("decays", "shares"):
        content[name] = tuple(content.get(name, ()))
    return Recipe(**content)


def _wrong(name: str, value: object, kind: str) -> str | None:
    """What is wrong with a value by itself."""
    if not isinstance(value, _ACCEPTED[kind]) or isinstance(value, bool):
        return f"is not a {kind}"
    if not isinstance(value, int | float):
        return None
    if not math.isfinite(value):
        return f"is {value}"
    if value < 0:
        return "is negative"
    if value >= _LARGEST:
        return f"is {value}: too large"
    return "is zero" if value == 0 and name in _POSITIVE else None


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
            len(decays) > LARGEST_STATE,
            f"there are more than {LARGEST_STATE} decays, more than a checkpoint can hold",
        ),
        (
            not all(_is_number(share) and 0 <= share < math.inf for share in shares),
            "shares are not all numbers from 0 on",
        ),
        (bool(shares) and not any(shares), "shares are all 0: there is no start"),
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def override(recipe: Recipe, **values: int | None) -> Recipe:
    """`recipe` with the values that are not None in place of its own."""
    given = {name: value for name, value in values.items() if value is not None}
    if bad := sorted(name for name, value in given.items() if value < (name != "seed")):
        raise RecipeError(f"{bad[0]} is {given[bad[0]]}: too small")
    return replace(recipe, **given)  # type: ignore[arg-type]  # names are checked by replace
