"""What a plan says of each guardrail: whether it is on, whether it must pass, its figures."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Frozen(BaseModel):
    """A part of a plan: unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LatencyFigures(Frozen):
    """Canary P95 of whole requests over stable's; see the plan's `ratio` and `quantile`."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")


class InferenceFigures(Frozen):
    """Canary P95 in the engine over stable's; see the plan's `ratio` and `quantile`."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=False, description="no step passes without it")


class ErrorsFigures(Frozen):
    """Canary's share of failed requests over stable's."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")
    margin: float = Field(
        0.01, ge=0.0005, le=0.5, description="canary's error rate less stable's, at most, 0..1"
    )


class QualityFigures(Frozen):
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


class Guardrails(Frozen):
    """What is judged, by name. Each can be turned off, or left out of what must pass."""

    latency: LatencyFigures = LatencyFigures()
    inference: InferenceFigures = InferenceFigures()
    errors: ErrorsFigures = ErrorsFigures()
    quality: QualityFigures = QualityFigures()

    @property
    def enabled(self) -> frozenset[str]:
        return frozenset(name for name, figures in self if figures.enabled)

    @property
    def required(self) -> frozenset[str]:
        """Those that must pass with or without evidence."""
        return frozenset(
            name for name, figures in self if figures.enabled and figures.required is True
        )
