"""The report of an offline evaluation: written by training, carried in the manifest, read by the
rollout's gate.

A report has one section a held-out set. All scores of a section share one candidate pool; scores
of different pools are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from service.validation_errors import first_error

SCHEMA_VERSION: Final = 2

Metric = Literal["hit_at_1", "hit_at_5", "hit_at_10", "mrr", "cosine"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class ReportError(Exception):
    """The file is not a usable evaluation report; the message names the file and the reason."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class _ReportModel(BaseModel):
    """Unknown fields are ignored, so that a later version's report can still be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class EvaluationData(_ReportModel):
    """The corpus that the held-out sets were taken from."""

    file: str | None = None
    sha256: str
    vectors: int | None = None
    documents: int | None = None


class PoolInfo(_ReportModel):
    """A pool of candidates. Pools with the same digest are the same."""

    digest: str | None = None
    dataset_digest: str | None = None
    set: str = "held out"
    kind: str
    size: int
    seed: int
    chance_hit_at_5: float | None = None


class ModelScore(_ReportModel):
    """The metrics of one model or baseline. A baseline has no window and no checkpoint.

    `seen_documents` are the set's documents that the model was trained on; None where the
    checkpoint does not list its training documents. Metrics are None where they were withheld
    because the model had seen documents of the set.
    """

    name: str
    kind: Literal["model", "baseline"]
    window: int | None = None
    checkpoint_sha256: str | None = None
    held_out: bool | None = None
    seen_documents: tuple[str, ...] | None = None
    hit_at_1: Estimate | None = None
    hit_at_5: Estimate | None = None
    hit_at_10: Estimate | None = None
    mrr: Estimate | None = None
    cosine: Estimate | None = None

    def metric(self, name: Metric) -> Estimate | None:
        """The estimate of metric `name`; None if it was withheld."""
        estimate: Estimate | None = getattr(self, name)
        return estimate

    def with_metrics(self, metrics: Mapping[Metric, Estimate] | None) -> ModelScore:
        """The same row with all metrics set; unchanged for None."""
        return self.model_copy(update={str(name): value for name, value in (metrics or {}).items()})

    def is_of(self, checkpoint_sha256: str, window: int) -> bool:
        """Whether this is the score of that checkpoint at that window."""
        return (self.checkpoint_sha256, self.window) == (checkpoint_sha256, window)

    @model_serializer(mode="wrap")
    def _without_withheld_metrics(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {
            name: value
            for name, value in fields.items()
            if value is not None or name not in METRICS
        }


class PairedDifference(_ReportModel):
    """Metric of `a` minus metric of `b`, paired position by position, with its 95 % interval."""

    a: str
    b: str
    metric: Metric
    difference: float
    low: float
    high: float
    a_checkpoint_sha256: str | None = None
    a_window: int | None = None
    b_checkpoint_sha256: str | None = None
    b_window: int | None = None

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.difference, self.low, self.high)

    def reversed(self) -> PairedDifference:
        """The same difference as `b` minus `a`."""
        return PairedDifference(
            a=self.b,
            b=self.a,
            metric=self.metric,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            a_checkpoint_sha256=self.b_checkpoint_sha256,
            a_window=self.b_window,
            b_checkpoint_sha256=self.a_checkpoint_sha256,
            b_window=self.a_window,
        )


class HeldOutSection(_ReportModel):
    """The scores on one held-out set, all on one pool, and their paired differences."""

    name: str
    description: str | None = None
    documents: tuple[str, ...] = ()
    vectors: int | None = None
    pool: PoolInfo
    scores: tuple[ModelScore, ...]
    differences: tuple[PairedDifference, ...] = ()

    def score_of(self, checkpoint_sha256: str, window: int) -> ModelScore | None:
        """The checkpoint's score; None if there is none, or none on unseen documents."""
        for score in self.scores:
            if score.is_of(checkpoint_sha256, window) and score.held_out is not False:
                return score if score.hit_at_5 is not None else None
        return None

    def for_checkpoint(self, checkpoint_sha256: str, window: int) -> HeldOutSection | None:
        """The section with the checkpoint's score, the baselines and its differences alone.

        In each difference `a` is the checkpoint. None if `score_of` is None.
        """
        own = self.score_of(checkpoint_sha256, window)
        if own is None:
            return None
        both_ways = [*self.differences, *(item.reversed() for item in self.differences)]
        return self.model_copy(
            update={
                "scores": (own, *(score for score in self.scores if score.kind == "baseline")),
                "differences": tuple(
                    item
                    for item in both_ways
                    if (item.a_checkpoint_sha256, item.a_window) == (checkpoint_sha256, window)
                ),
            }
        )


class EvaluationReport(_ReportModel):
    """All held-out sets of one corpus. `interval` says how the intervals were computed."""

    schema_version: Literal[2] = SCHEMA_VERSION
    data: EvaluationData
    interval: str = ""
    sets: tuple[HeldOutSection, ...] = Field(min_length=1)

    def for_checkpoint(self, checkpoint_sha256: str, window: int) -> EvaluationReport | None:
        """What the report says about one checkpoint, for its manifest; None if nothing."""
        found = [section.for_checkpoint(checkpoint_sha256, window) for section in self.sets]
        sections = tuple(section for section in found if section is not None)
        return self.model_copy(update={"sets": sections}) if sections else None

    @model_validator(mode="before")
    @classmethod
    def _from_flat_form(cls, content: object) -> object:
        """Read the form of earlier manifests: one set at the top level, others in `other_sets`."""
        if not isinstance(content, dict) or "sets" in content or "score" not in content:
            return content
        others = content.get("other_sets", ())
        flat = [content, *others] if isinstance(others, list | tuple) else [content, others]
        shared = {key: content[key] for key in ("data", "interval") if key in content}
        return {**shared, "sets": [_section_of_flat_form(one) for one in flat]}


def _section_of_flat_form(flat: object) -> object:
    """A section's fields; anything malformed is passed on for the validation to refuse."""
    if not isinstance(flat, dict):
        return flat
    score, baselines = flat.get("score"), flat.get("baselines")
    section = {key: flat[key] for key in ("pool", "differences") if key in flat}
    return {
        **section,
        "name": flat.get("set", "held out"),
        "scores": [
            {"kind": "model", **score} if isinstance(score, dict) else score,
            *(baselines if isinstance(baselines, list | tuple) else ()),
        ],
    }


def load(path: Path) -> EvaluationReport:
    """Read the report that `nextvec evaluate` wrote to `path`. Raises `ReportError`."""
    try:
        return EvaluationReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ReportError(
            f"{path}: not a report of nextvec evaluate: {error.strerror or error}"
        ) from error
    except ValidationError as error:
        raise ReportError(
            f"{path}: not a report of nextvec evaluate: {first_error(error)}; "
            "evaluate again with this version"
        ) from error
