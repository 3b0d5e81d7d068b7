"""The common parts of a plan's models, and of each guardrail's part of a plan."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

MAX_COUNT = 1_000_000_000
"""Largest count of requests, keys or candidates in a plan."""

MAX_SECONDS = 1_000_000_000.0
"""Longest time in a plan, some 30 years. Every number in a plan has bounds: a response or a
date cannot hold every number that JSON can."""

_LEADING_ZERO = re.compile(r"\s*[+-]?0[0-9_]")


def _as_written(number: Any) -> Any:
    """Refuse what a lenient parser would read as another number than was written."""
    if isinstance(number, bool):
        raise ValueError(f"must be a number, not {str(number).lower()}")  # noqa: TRY004  pydantic reports no TypeError
    if isinstance(number, str) and _LEADING_ZERO.match(number):
        raise ValueError("must not have a leading zero")
    return number


Integer = Annotated[int, BeforeValidator(_as_written)]
Number = Annotated[float, BeforeValidator(_as_written)]
Count = Annotated[Integer, Field(ge=1, le=MAX_COUNT)]
Seconds = Annotated[Number, Field(ge=0, le=MAX_SECONDS)]
PositiveSeconds = Annotated[Number, Field(gt=0, le=MAX_SECONDS)]

Problem = tuple[tuple[str | int, ...], str, object]
"""The path of a field, what is wrong with it, and its value."""


def raise_problems(model: type[BaseModel], problems: list[Problem]) -> None:
    """Raise a `ValidationError` that names every field with a problem, if there is one."""
    if problems:
        raise ValidationError.from_exception_data(
            model.__name__,
            [
                InitErrorDetails(
                    type=PydanticCustomError("plan", "{why}", {"why": why}), loc=path, input=value
                )
                for path, why, value in problems
            ],
        )


class PlanModel(BaseModel):
    """A part of a plan. Unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GuardrailConfig(PlanModel):
    """What a plan says about every guardrail."""

    enabled: bool = Field(default=True, description="Judge it; it may roll back.")
    required: bool | Literal["with_evidence"] = Field(
        default=True, description="Every step needs its pass."
    )
