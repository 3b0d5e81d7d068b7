"""What a plan says of each guardrail: whether it is on, whether it must pass, its figures."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from service.types import Mode

HALF_STEP = math.sqrt(1.2)
"""Ratio of neighbouring bucket edges; a ratio must be a whole number of these."""


def edges_apart(ratio: float) -> int:
    """How many bucket edges lie from τ to ratio·τ."""
    return round(math.log(ratio) / math.log(HALF_STEP))


def off_the_edges(ratio: float) -> str | None:
    """What is wrong with a ratio that leads from one bucket edge to none."""
    apart = edges_apart(ratio)
    if apart >= 1 and math.isclose(ratio, HALF_STEP**apart, rel_tol=1e-3):
        return None
    near = ", ".join(f"{HALF_STEP**k:.4g}" for k in range(1, 9))
    return f"must fall on the buckets' edges, powers of the square root of 1.2: {near}, ..."


class PlanModel(BaseModel):
    """A part of a plan: unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LatencyConfig(PlanModel):
    """Canary P95 of whole requests over stable's; see the plan's `ratio` and `quantile`."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")


class InferenceFigures(PlanModel):
    """Canary P95 in the engine over stable's; see the plan's `ratio` and `quantile`."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=False, description="no step passes without it")


class ErrorRateConfig(PlanModel):
    """Canary's share of failed requests over stable's."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")
    margin: float = Field(
        0.01, ge=0.0005, le=0.5, description="canary's error rate less stable's, at most, 0..1"
    )


class InterferenceConfig(PlanModel):
    """Stable's P95 during the rollout over that from before it."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: Literal[False] = Field(default=False, description="it can only roll back")
    ratio: float = Field(
        HALF_STEP**12, gt=1, le=20, description="stable P95 over its P95 before, at most"
    )

    @field_validator("ratio")
    @classmethod
    def _on_the_edges(cls, ratio: float) -> float:
        if (wrong := off_the_edges(ratio)) is not None:
            raise ValueError(wrong)
        return ratio


class LatencyBound(PlanModel):
    """Canary P95 in seconds: what it should be, and what rolls back."""

    aim_seconds: PositiveFloat = Field(0.005, description="a pass needs P95 within this")
    roll_back_seconds: PositiveFloat = Field(0.010, description="over this it is rolled back")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.aim_seconds > self.roll_back_seconds:
            raise ValueError("aim_seconds must not be over roll_back_seconds")
        return self


class LatencyCeilingConfig(PlanModel):
    """Canary P95 against absolute bounds, by request mode."""

    enabled: bool = Field(default=False, description="it is judged and may roll back")
    required: bool = Field(default=False, description="no step passes without it")
    modes: dict[Mode, LatencyBound] = Field(
        default_factory=lambda: {Mode.STEP: LatencyBound()},
        min_length=1,
        description="`aim_seconds` and `roll_back_seconds` by request mode; others are not judged",
    )


class QualityConfig(PlanModel):
    """Canary's Hit@5 by key over stable's."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool | Literal["with_evidence"] = Field(
        "with_evidence",
        description="no step passes without it; `with_evidence`: once `enough_keys` have been seen",
    )
    kept: float = Field(
        0.8, ge=0.05, le=0.99, description="part of stable's Hit@5 that the canary must keep"
    )
    enough_keys: PositiveInt = Field(
        200, description="scored keys a variant in a step from which on it must pass"
    )


class GuardrailConfigs(PlanModel):
    """What is judged, by name. Each can be turned off, or left out of what must pass."""

    latency: LatencyConfig = LatencyConfig()
    inference: InferenceFigures = InferenceFigures()
    errors: ErrorRateConfig = ErrorRateConfig()
    ceiling: LatencyCeilingConfig = LatencyCeilingConfig()
    interference: InterferenceConfig = InterferenceConfig()
    quality: QualityConfig = QualityConfig()

    @property
    def enabled(self) -> frozenset[str]:
        return frozenset(name for name, figures in self if figures.enabled)

    @property
    def required(self) -> frozenset[str]:
        """Those that must pass with or without evidence."""
        return frozenset(
            name for name, figures in self if figures.enabled and figures.required is True
        )
