"""What every plan must demand at least. Pure.

A person who may start a rollout also chooses its plan. The floor belongs to the service's own
configuration, so no plan of a request can be looser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field, ValidationError, field_validator

from service.errors import Invalid
from service.rollout.analysis.guardrails.config import (
    MAX_COUNT,
    Integer,
    Number,
    PlanModel,
    Seconds,
)
from service.rollout.analysis.guardrails.error_rate import ErrorRateConfig, ErrorRateGuardrail
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.plan.rollout_plan import RolloutPlan
from service.suggestions import describe_unknown, validation_message


class PlanFloor(PlanModel):
    """The least that a plan must demand. The default demands nothing."""

    min_dwell_seconds: Seconds = Field(
        0.0, description="Smallest allowed `min_dwell_seconds` of a step with a weight."
    )
    min_samples: Integer = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="Smallest allowed `min_samples` of a step with a weight.",
    )
    required_guardrails: frozenset[str] = Field(
        frozenset(), description="Guardrails that every step below 100 % must require."
    )
    max_ratio: Number | None = Field(
        None, gt=1, le=10, description="Largest allowed `ratio` of a plan."
    )
    max_error_margin: Number | None = Field(
        None, ge=0, le=1, description="Largest allowed `guardrails.errors.margin` of a plan."
    )
    min_alpha: Number = Field(
        0.0, ge=0, le=0.1, description="Smallest allowed `alpha`: a smaller one fails later."
    )
    approval: bool = Field(
        default=False,
        description="The last step must wait for an approval, so that no plan makes a version "
        "stable without a person.",
    )

    def without_approval(self) -> PlanFloor:
        """This floor for a person who may approve."""
        return self.model_copy(update={"approval": False})

    @field_validator("required_guardrails")
    @classmethod
    def _known(cls, names: frozenset[str]) -> frozenset[str]:
        for name in sorted(names - set(GUARDRAIL_NAMES)):
            raise ValueError(describe_unknown("guardrail", name, GUARDRAIL_NAMES))
        return names


NO_FLOOR = PlanFloor()


def make_floor(values: Mapping[str, object], plan: RolloutPlan) -> PlanFloor:
    """Return the floor of the configuration, whose own `plan` must meet it.

    The approval is left to each start: the role of the person who starts decides it. Raises
    `Invalid`.
    """
    try:
        floor = PlanFloor.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = validation_message(dict(first), PlanFloor)
        raise Invalid(f"rollout.floor.{field}: {message}", "below_floor") from error
    require_floor(plan, floor.without_approval())
    return floor


def find_shortfalls(plan: RolloutPlan, floor: PlanFloor) -> tuple[str, ...]:
    """One message for each field of `plan` that demands less than `floor`."""
    return tuple(_shortfalls(plan, floor))


def require_floor(plan: RolloutPlan, floor: PlanFloor) -> None:
    """Raise `Invalid` with code `below_floor` for a plan that demands less than `floor`."""
    found = find_shortfalls(plan, floor)
    if found:
        raise Invalid(
            f"the plan demands less than this service allows: {'; '.join(found)}", "below_floor"
        )


def _shortfalls(plan: RolloutPlan, floor: PlanFloor) -> Iterator[str]:
    for i, step in enumerate(plan.steps):
        if step.shadow:
            continue
        at = f"plan.steps.{i}"
        if step.min_dwell_seconds < floor.min_dwell_seconds:
            yield (
                f"{at}.min_dwell_seconds is {step.min_dwell_seconds:g}, "
                f"at least {floor.min_dwell_seconds:g} required "
                "(rollout.floor.min_dwell_seconds)"
            )
        if step.min_samples < floor.min_samples:
            yield (
                f"{at}.min_samples is {step.min_samples}, at least {floor.min_samples} required "
                "(rollout.floor.min_samples)"
            )
        missing = sorted(floor.required_guardrails - plan.must_pass(i))
        if missing and not step.takes_all:
            yield (
                f"{at} does not require the guardrails {', '.join(missing)} "
                "(rollout.floor.required_guardrails)"
            )
    errors = plan.guardrails.of(ErrorRateGuardrail.name)
    assert isinstance(errors, ErrorRateConfig)
    for field, value, most, name in (
        ("ratio", plan.ratio, floor.max_ratio, "max_ratio"),
        ("guardrails.errors.margin", errors.margin, floor.max_error_margin, "max_error_margin"),
    ):
        if most is not None and value > most:
            yield f"plan.{field} is {value:g}, at most {most:g} allowed (rollout.floor.{name})"
    if plan.alpha < floor.min_alpha:
        yield (
            f"plan.alpha is {plan.alpha:g}, at least {floor.min_alpha:g} required "
            "(rollout.floor.min_alpha)"
        )
    if floor.approval and not plan.steps[-1].approval:
        yield (
            f"plan.steps.{len(plan.steps) - 1}.approval is false, true required in the last step "
            "unless an approver starts the rollout (rollout.floor.approval)"
        )
