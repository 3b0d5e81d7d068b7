"""A recipe: everything that decides a training run, read from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM
from architectures.weights_file import LARGEST_STATE
from service.validation_errors import all_errors

Architecture = Literal["memory-augmented-gru", "decayed-means"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

_LIMIT = 2**63
"""Seeds of NumPy's and PyTorch's generators are below this."""

Count = Annotated[int, Field(gt=0, lt=_LIMIT)]
CountOrZero = Annotated[int, Field(ge=0, lt=_LIMIT)]
Positive = Annotated[float, Field(gt=0, lt=_LIMIT)]
NonNegative = Annotated[float, Field(ge=0, lt=_LIMIT)]
Share = Annotated[float, Field(ge=0, le=1)]


class RecipeError(Exception):
    """The recipe cannot be used; the message names the fields."""


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class Recipe:
    """The fields of a recipe, validated whenever one is made, `dataclasses.replace` included.

    Every architecture:
    - `name`: of the output files.
    - `window`: vectors of context.
    - `batch`: sequences (Memory-Augmented GRU) or positions (Decayed Means) a batch.
    - `accumulate`: batches an optimizer step.
    - `alpha`, `temperature`: weight and temperature of InfoNCE.
    - `patience`: epochs without a better Hit@5 before training stops. With 0 the last epoch is
      kept instead of the best, so the held-out documents select nothing.
    - `interpolation`: position of the result between the initial weights (0) and the trained
      ones (1).

    Memory-Augmented GRU:
    - `targets`: `every` vector of a sequence, with sequences end to end; or the `last` alone,
      with a sequence every `stride` vectors.
    - `gate_bias`: the largest initial bias of an update gate.

    Decayed Means:
    - `decays`, `width`: the decay of each mean, and the width of the state.
    - `initial_scale`: initial weights of the last vector and of each mean. Empty: 1 for the last
      vector and the fast means, 0.1 for the slow ones.
    - `whitening`: exponent that evens out the variances of the initial directions.
    - `batch_span`: the consecutive vectors that a batch's positions are drawn from. 0: all.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    window: Count
    batch: Count
    epochs: Count
    learning_rate: Positive
    weight_decay: NonNegative
    alpha: NonNegative
    temperature: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    gradient_clip: Positive
    patience: CountOrZero
    seed: CountOrZero
    architecture: Architecture = "memory-augmented-gru"
    targets: Literal["every", "last"] = "every"
    stride: Count = 1
    accumulate: Count = 1
    gate_bias: NonNegative = 0.0
    decays: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        Field(strict=False, max_length=LARGEST_STATE),
    ] = ()
    width: Annotated[int, Field(gt=0, le=DIM)] = 384
    initial_scale: Annotated[tuple[NonNegative, ...], Field(strict=False)] = ()
    whitening: Share = 0.0
    batch_span: CountOrZero = 0
    interpolation: Annotated[float, Field(gt=0, le=1)] = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _check_architecture(self) -> Self:
        """Refuse fields that the architecture does not read, and combinations that cannot work."""
        if self.architecture == DecayedMeans.ARCHITECTURE:
            self._check_decayed_means()
        else:
            self._check_gru()
        return self

    def _check_gru(self) -> None:
        foreign = ("decays", "initial_scale", "whitening", "batch_span")
        if used := [name for name in foreign if getattr(self, name)]:
            raise ValueError(f"{', '.join(used)}: only for {DecayedMeans.ARCHITECTURE}")
        if self.precision != "fp32":
            raise ValueError(f"precision: {self.architecture} trains in fp32 only")

    def _check_decayed_means(self) -> None:
        scale = self.initial_scale
        if not self.decays:
            raise ValueError("decays: at least one is needed")
        if scale and len(scale) != len(self.decays) + 1:
            raise ValueError("initial_scale: needs one for the last vector and one for each decay")
        if scale and not any(scale):
            raise ValueError("initial_scale: all are 0, so the model would predict nothing")
        if 0 < self.batch_span < self.batch:
            raise ValueError("batch_span: smaller than the batch that is drawn from it")
        if self.targets != "every":
            raise ValueError(f"targets: {self.architecture} trains on every target")


def load(path: Path) -> Recipe:
    """The recipe in `path`. Raises `RecipeError`, naming every wrong field."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        return Recipe(**content)
    except ValidationError as error:
        raise RecipeError(f"{path}: {all_errors(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error


def override(recipe: Recipe, **values: int | None) -> Recipe:
    """`recipe` with the values that are not None. Raises `RecipeError`, naming the field."""
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return dataclasses.replace(recipe, **given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise RecipeError(all_errors(error)) from error
