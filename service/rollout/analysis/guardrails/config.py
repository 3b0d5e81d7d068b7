"""The common parts of a plan's models, and of each guardrail's part of a plan."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PlanModel(BaseModel):
    """A part of a plan. Unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GuardrailConfig(PlanModel):
    """What a plan says about every guardrail."""

    enabled: bool = Field(default=True, description="Judge it; it may roll back.")
    required: bool | Literal["with_evidence"] = Field(
        default=True, description="Every step needs its pass."
    )
