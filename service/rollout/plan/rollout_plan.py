"""What a rollout goes through: steps of weight, and what the evidence must show."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.rollout.analysis.bucket_edges import ratio_problem
from service.rollout.analysis.guardrails.config import PlanModel
from service.rollout.analysis.guardrails.registry import GuardrailConfigs
from service.rollout.plan.gate import Gate
from service.rollout.routing.traffic_split import BASIS_POINTS


class PlanStep(PlanModel):
    """One weight, and what must be over before it is left."""

    weight: float = Field(0.0, ge=0, le=100, description="canary's share of new requests, per cent")
    shadow: bool = Field(
        default=False,
        description="at weight 0, the first step alone: the canary runs on copies of stable's "
        "requests, whose answers nobody gets",
    )
    min_dwell_seconds: NonNegativeFloat = Field(120.0, description="at this weight at least")
    min_samples: PositiveInt = Field(500, description="requests a variant, in this step")
    approval: bool = Field(default=False, description="a person must promote it")
    must_pass: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="guardrails by name; without it all that are enabled and required",
    )
    min_agreement: float | None = Field(
        None, ge=-1, le=1, description="shadow: mean cosine with stable's predictions, at least"
    )
    max_inference_ratio: float = Field(
        5.0,
        gt=1,
        le=1000,
        description="shadow: canary P95 in the engine over stable's for the same requests, at most",
    )

    @property
    def weight_bp(self) -> int:
        """Basis points, 1..10000; 0 in a shadow step."""
        return round(self.weight * BASIS_POINTS / 100)

    @property
    def takes_all(self) -> bool:
        """Whether the canary gets every request, which leaves none of stable's to compare with."""
        return self.weight_bp == BASIS_POINTS


_DEFAULT_STEPS = (
    PlanStep(shadow=True),
    PlanStep(weight=5),
    PlanStep(weight=10),
    PlanStep(weight=25),
    PlanStep(weight=50),
    PlanStep(weight=100, approval=True),
)


class RolloutPlan(PlanModel):
    """Steps, the guardrail's figures and the waits. Unknown fields are refused.

    It may begin with a shadow step, in which the canary answers nobody yet.
    A plan may end below 100 %: promotion gives the canary the rest. A step at
    100 % leaves nothing to compare with, so that no test can pass there: it
    needs a person's approval and a dwell, and cannot be the first with a weight.
    """

    steps: tuple[PlanStep, ...] = Field(_DEFAULT_STEPS, min_length=1, max_length=100)
    alpha: float = Field(
        0.01, ge=1e-9, le=0.1, description="chance to roll back a canary that complies"
    )
    ratio: float = Field(1.2, gt=1, le=10, description="canary P95 over stable P95, at most")
    quantile: float = Field(0.95, ge=0.5, le=0.999, description="which percentile, 0..1")
    warm_up_seconds: NonNegativeFloat = Field(60.0, description="latency not judged, at least")
    warm_up_requests: NonNegativeInt = Field(50, description="canary requests not judged, at least")
    settle_seconds: NonNegativeFloat = Field(
        15.0, description="latency not judged after each change of weight"
    )
    baseline_samples: int = Field(
        1000, ge=100, le=1_000_000, description="stable requests before its percentile is taken"
    )
    deadline_seconds: PositiveFloat = Field(
        3600.0, description="for the warm-up and for each step; then `on_deadline`"
    )
    on_deadline: Literal["pause", "abort"] = Field(
        "pause", description="without any evidence it pauses in either case"
    )
    pause_deadline_seconds: PositiveFloat = Field(
        86_400.0, description="a pause this long is aborted"
    )
    gate: Gate | None = Field(
        None, description="what the manifests must show before a start; none asks nothing"
    )
    guardrails: GuardrailConfigs = Field(
        default_factory=GuardrailConfigs, description="by name, each as below"
    )

    def with_floor(self, gate: Gate | None) -> RolloutPlan:
        """This plan with a gate at least as strict as `gate`."""
        if gate is None:
            return self
        return self.model_copy(update={"gate": (self.gate or gate).with_floor(gate)})

    def must_pass(self, step: int) -> frozenset[str]:
        """The guardrails without whose pass the step is not left."""
        wanted = self.steps[step].must_pass
        return self.guardrails.required if wanted is None else frozenset(wanted)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        problems = [
            *self._ratio_problems(),
            *self._step_problems(),
            *self._guardrail_problems(),
        ]
        if problems:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("plan", "{why}", {"why": why}), loc=loc, input=got
                    )
                    for loc, why, got in problems
                ],
            )
        return self

    def _ratio_problems(self) -> list[tuple[tuple[str | int, ...], str, object]]:
        wrong = ratio_problem(self.ratio)
        return [] if wrong is None else [(("ratio",), wrong, self.ratio)]

    def _guardrail_problems(self) -> list[tuple[tuple[str | int, ...], str, object]]:
        found: list[tuple[tuple[str | int, ...], str, object]] = []
        may = self.guardrails.able_to_pass
        for i, step in enumerate(self.steps):
            if step.must_pass is None and not self.guardrails.required and not step.shadow:
                why = "leaves nothing that must pass: require one, or name it in each step"
                return [(("guardrails",), why, None)]
            for k, name in enumerate(step.must_pass or ()):
                if name not in may:
                    those = ", ".join(sorted(may)) or "none"
                    why = f"is no guardrail that is on and can pass; these are {those}"
                    found.append((("steps", i, "must_pass", k), why, name))
        return found

    def _step_problems(self) -> list[tuple[tuple[str | int, ...], str, object]]:
        found: list[tuple[tuple[str | int, ...], str, object]] = []
        before = 0
        for i, step in enumerate(self.steps):
            at = ("steps", i)
            found += [((*at, name), why, got) for name, why, got in _shadow_problems(i, step)]
            if step.min_dwell_seconds >= self.deadline_seconds:
                why = f"must be below deadline_seconds, {self.deadline_seconds:g}"
                found.append(((*at, "min_dwell_seconds"), why, step.min_dwell_seconds))
            if step.shadow:
                continue
            if step.weight_bp <= before:
                why = f"must be over {before / 100:g}, the weight before it; the finest is 0.01"
                found.append(((*at, "weight"), why, step.weight))
            if step.takes_all and before == 0:
                why = "the first step must leave stable some requests to compare with: below 100"
                found.append(((*at, "weight"), why, step.weight))
            before = max(before, step.weight_bp)
            if step.takes_all and step.min_dwell_seconds == 0:
                why = "must be over 0 at 100 %: promotion does the same without a dwell"
                found.append(((*at, "min_dwell_seconds"), why, step.min_dwell_seconds))
            if step.takes_all and not step.approval:
                why = "must be true at 100 %: with nothing to compare with, a person must decide"
                found.append(((*at, "approval"), why, step.approval))
        if all(step.shadow for step in self.steps):
            found.append((("steps",), "a step with a weight must follow the shadow", None))
        return found


def _shadow_problems(i: int, step: PlanStep) -> list[tuple[str, str, object]]:
    """Field, what is wrong with it, and what was given."""
    found: list[tuple[str, str, object]] = []
    if not step.shadow:
        only = "is for a shadow step: the guardrails judge where the canary has a weight"
        given = {name: getattr(step, name) for name in ("min_agreement", "max_inference_ratio")}
        fields = PlanStep.model_fields
        return [(name, only, got) for name, got in given.items() if got != fields[name].default]
    if i:
        found.append(("shadow", "must come first: the canary has callers already", step.shadow))
    if step.weight:
        found.append(("weight", "must be 0, or left out, in a shadow step", step.weight))
    if step.must_pass is not None:
        why = "is not for a shadow step: guardrails need canary requests"
        found.append(("must_pass", why, step.must_pass))
    return found
