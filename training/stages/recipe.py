"""A staged recipe: everything that decides a staged training run, read from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM
from architectures.weights_file import LARGEST_STATE
from service.validation_errors import all_errors
from training.recipe import (
    Architecture,
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    RecipeError,
    Share,
)

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class Stage:
    """One stage: sequences of `window` vectors, `batch` at a time.

    It lasts `seconds` of training, or until the model has read the training vectors `epochs`
    times. The learning rate falls from `learning_rate` to `final_learning_rate`.
    """

    window: Count
    batch: Count
    learning_rate: Positive
    final_learning_rate: NonNegative
    seconds: NonNegative = 0.0
    epochs: NonNegative = 0.0

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if (self.seconds > 0) == (self.epochs > 0):
            raise ValueError("give either seconds or epochs")
        return self


def _stage(value: object) -> object:
    """A stage from its table in a TOML file."""
    if not isinstance(value, dict):
        return value
    try:
        return Stage(**value)
    except ValidationError as error:
        raise ValueError(all_errors(error)) from error


@dataclass(frozen=True, config=_STRICT)
class StagedRecipe:
    """The fields of a staged recipe.

    - `positions`: predictions a batch that the loss looks at, and `others`: random training
      vectors that are further candidates.
    - `temperature`, `cosine_weight`: of InfoNCE, and of `1 - cosine` beside it.
    - `document_negatives`, `document_weight`: the candidates of a second InfoNCE, which are
      random vectors of the target's own document, and its weight. A user's text is usually one
      document, where topic and style do not tell the target from the other candidates.
    - `shift_share`, `shift_length`: the share of a batch's sequences that are moved, and how far
      at most, along the difference of two documents' means. The model then cannot rely on where
      the training texts lie, and has to take the centre from the sequence itself.
    - `step_limit`, `step_weight`: the length of the step that is free, and the weight of the
      square of what exceeds it. The last vector has length 1.
    - `genre_balance`: 0 draws documents by their length, 1 draws every genre as often.
    - `averaging`: of the weights, per optimizer step; the averaged weights are the result.
    - `validations`: a stage; the best validated weights are kept.
    - `initial` (Memory-Augmented GRU): starts as *repeat the last vector*, or as a decayed mean
      around the text's running centre (`training.running_centre`).
    - `gate_bias`: the largest initial bias of an update gate of the former.
    - `decays`, `width`, `initial_scale`, `whitening` (Decayed Means): as in a `Recipe`; the
      initial scale of a slow mean may be negative, which takes the text's own centre away.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    stages: Annotated[
        tuple[Annotated[Stage, BeforeValidator(_stage)], ...], Field(strict=False, min_length=1)
    ]
    seed: CountOrZero = 0
    architecture: Architecture = "memory-augmented-gru"
    precision: Literal["fp32", "bf16"] = "fp32"
    positions: Count = 6144
    others: CountOrZero = 3072
    temperature: Positive = 0.06
    cosine_weight: NonNegative = 0.1
    document_negatives: CountOrZero = 256
    document_weight: NonNegative = 1.0
    shift_share: Share = 0.25
    shift_length: NonNegative = 1.0
    step_limit: NonNegative = 1.0
    step_weight: NonNegative = 0.1
    genre_balance: Share = 0.5
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    validations: Count = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: NonNegative = 0.05
    betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.98)
    gradient_clip: Positive = 1.0
    warm_up: CountOrZero = 100
    gate_bias: NonNegative = 5.0
    initial: Literal["repeat", "running-centre"] = "repeat"
    decays: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        Field(strict=False, max_length=LARGEST_STATE),
    ] = ()
    width: Annotated[int, Field(gt=0, le=DIM)] = 512
    initial_scale: Annotated[tuple[float, ...], Field(strict=False)] = ()
    whitening: Share = 0.0

    @model_validator(mode="after")
    def _check_architecture(self) -> Self:
        means = self.architecture == DecayedMeans.ARCHITECTURE
        if bool(self.decays) != means:
            raise ValueError(f"decays: {DecayedMeans.ARCHITECTURE} needs some, no other reads them")
        if means and self.initial != "repeat":
            raise ValueError(f"initial: {DecayedMeans.ARCHITECTURE} has one start only")
        if self.initial_scale and len(self.initial_scale) != len(self.decays) + 1:
            raise ValueError("initial_scale: needs one for the last vector and one for each decay")
        return self

    @property
    def window(self) -> int:
        """The window of the last stage, which is the model's."""
        return self.stages[-1].window


def is_staged(path: Path) -> bool:
    """The file is a recipe with stages. Raises `RecipeError` if it cannot be read."""
    return "stages" in _content(path)


def load(path: Path) -> StagedRecipe:
    """The recipe in `path`. Raises `RecipeError`, naming every wrong field."""
    content = _content(path)
    try:
        return StagedRecipe(**content)  # type: ignore[arg-type]
    except ValidationError as error:
        raise RecipeError(f"{path}: {all_errors(error)}") from error


def override(recipe: StagedRecipe, seed: int | None, epochs: int | None) -> StagedRecipe:
    """`recipe` with another seed, or with `epochs` in every stage, where they are given."""
    try:
        if seed is not None:
            recipe = dataclasses.replace(recipe, seed=seed)
        if epochs is not None:
            stages = tuple(
                dataclasses.replace(stage, seconds=0.0, epochs=float(epochs))
                for stage in recipe.stages
            )
            recipe = dataclasses.replace(recipe, stages=stages)
    except ValidationError as error:
        raise RecipeError(all_errors(error)) from error
    return recipe


def _content(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
