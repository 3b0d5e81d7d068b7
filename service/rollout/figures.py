"""What a plan says of each guardrail: whether it is on, whether it must pass, its figures."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A part of a plan: unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LatencyFigures(Frozen):
    """Canary P95 of whole requests over stable's; see the plan's `ratio` and `quantile`."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")


class ErrorsFigures(Frozen):
    """Canary's share of failed requests over stable's."""

    enabled: bool = Field(default=True, description="it is judged and may roll back")
    required: bool = Field(default=True, description="no step passes without it")
    margin: float = Field(
        0.01, ge=0.0005, le=0.5, description="canary's error rate less stable's, at most, 0..1"
    )


class Guardrails(Frozen):
    """What is judged, by name. Each can be turned off, or left out of what must pass."""

    latency: LatencyFigures = LatencyFigures()
    errors: ErrorsFigures = ErrorsFigures()

    @property
    def enabled(self) -> frozenset[str]:
        return frozenset(name for name, figures in self if figures.enabled)

    @property
    def required(self) -> frozenset[str]:
        return frozenset(name for name, figures in self if figures.enabled and figures.required)
