"""The rollout plan: the steps, and what the evidence must show at each."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from service.rollout.analysis.bucket_edges import ratio_problem
from service.rollout.analysis.guardrails.config import (
    MAX_COUNT,
    Count,
    Integer,
    Number,
    PlanModel,
    PositiveSeconds,
    Problem,
    Seconds,
    raise_problems,
)
from service.rollout.analysis.guardrails.registry import GuardrailConfigs
from service.rollout.analysis.shadow_stats import ShadowLimits
from service.rollout.plan.gate import Gate
from service.rollout.routing.traffic_split import BASIS_POINTS

STORED = {"stored": True}
"""Validation context of a plan that was accepted before, perhaps by an earlier version: rules
about its fields' meaning are not applied again."""


class PlanStep(PlanModel):
    """One weight, and what must hold before the rollout leaves it."""

    weight: Number = Field(
        0.0,
        ge=0,
        le=100,
        description="The canary's share of new requests, in per cent. A weight below 1 % is "
        "written with its unit, as `0.5%`.",
    )
    shadow: bool = Field(
        default=False,
        description="The canary runs on copies of stable's requests, and callers get none of its "
        "answers. Only the first step may be a shadow step, and it has no weight.",
    )
    min_dwell_seconds: Seconds = Field(120.0, description="Minimum time at this weight.")
    min_samples: Count = Field(500, description="Minimum requests of each variant in this step.")
    approval: bool = Field(default=False, description="The step waits for a person to promote it.")
    must_pass: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Names of the guardrails that must pass before the step ends. By default, all "
        "required ones.",
    )
    min_agreement: Number | None = Field(
        None,
        ge=-1,
        le=1,
        description="Shadow step: the smallest allowed mean cosine with stable's predictions.",
    )
    max_inference_ratio: Number = Field(
        5.0,
        gt=1,
        le=1000,
        description="Shadow step: the largest allowed ratio of the canary's P95 in the engine to "
        "stable's, on the same requests.",
    )

    @field_validator("weight", mode="before")
    @classmethod
    def _say_unit(cls, weight: Any, info: ValidationInfo) -> Any:
        """Accept `"5%"`. Refuse a number below 1, which may be meant as a share of 1."""
        if isinstance(weight, str) and weight.rstrip().endswith("%"):
            try:
                return float(weight.rstrip()[:-1])
            except ValueError:
                raise ValueError(f"is {weight[:20]!r}; write it as 5 or 5%") from None
        try:
            number = float(weight)
        except (TypeError, ValueError, OverflowError):
            return weight
        if 0 < number < 1 and info.context != STORED:
            raise ValueError(
                f"may mean {number:g} % or {100 * number:g} %: "
                f'write "{number!r}%" or {100 * number:g}'
            )
        return weight

    @field_serializer("weight", when_used="json")
    def _write_unit(self, weight: float) -> float | str:
        return f"{weight!r}%" if 0 < weight < 1 else weight

    @property
    def weight_bp(self) -> int:
        """The weight in basis points, 1..10000; 0 in a shadow step."""
        return round(self.weight * BASIS_POINTS / 100)

    @property
    def takes_all(self) -> bool:
        """Whether the canary gets every request, which leaves none of stable's to compare with."""
        return self.weight_bp == BASIS_POINTS

    @property
    def shadow_limits(self) -> ShadowLimits:
        """What a shadow step demands of its copies."""
        return ShadowLimits(self.min_samples, self.min_agreement, self.max_inference_ratio)


_DEFAULT_STEPS = (
    PlanStep(shadow=True),
    PlanStep(weight=5),
    PlanStep(weight=10),
    PlanStep(weight=25),
    PlanStep(weight=50),
    PlanStep(weight=100, approval=True),
)


class RolloutPlan(PlanModel):
    """The steps, the guardrails' configuration and the time limits.

    Unknown fields are rejected. A plan may begin with a shadow step, in which the canary serves
    no requests. It may end below 100 %, because the promotion gives the canary the rest. At
    100 % there is nothing to compare with, so no guardrail can pass: such a step needs a
    person's approval and a dwell, and cannot be the first step with a weight.
    """

    steps: tuple[PlanStep, ...] = Field(_DEFAULT_STEPS, min_length=1, max_length=100)
    alpha: Number = Field(
        0.01,
        ge=1e-9,
        le=0.1,
        description="The largest chance that a compliant canary is rolled back.",
    )
    ratio: Number = Field(
        1.2, gt=1, le=10, description="The largest allowed ratio of canary P95 to stable P95."
    )
    quantile: Number = Field(
        0.95, ge=0.5, le=0.999, description="The percentile that is compared, 0..1."
    )
    warm_up_seconds: Seconds = Field(60.0, description="Minimum warm-up before latency is judged.")
    warm_up_requests: Integer = Field(
        50,
        ge=0,
        le=MAX_COUNT,
        description="Minimum canary requests before latency is judged.",
    )
    settle_seconds: Seconds = Field(
        15.0, description="Seconds after each change of weight in which latency is not judged."
    )
    baseline_samples: Integer = Field(
        1000,
        ge=100,
        le=1_000_000,
        description="Stable requests from which stable's percentile is first estimated.",
    )
    deadline_seconds: PositiveSeconds = Field(
        3600.0,
        description="Time limit of the warm-up and of each step. Then `on_deadline` applies.",
    )
    on_deadline: Literal["pause", "abort"] = Field(
        "pause",
        description="What happens at the deadline. Without any evidence the rollout pauses in "
        "either case.",
    )
    pause_deadline_seconds: PositiveSeconds = Field(
        86_400.0, description="A pause of this length aborts the rollout."
    )
    gate: Gate | None = Field(
        None, description="Offline figures that the canary must show before it starts."
    )
    guardrails: GuardrailConfigs = Field(
        default_factory=GuardrailConfigs, description="The guardrails' settings, by name."
    )

    def with_floor(self, gate: Gate | None) -> RolloutPlan:
        """This plan with a gate at least as strict as `gate`."""
        if gate is None:
            return self
        return self.model_copy(update={"gate": (self.gate or gate).with_floor(gate)})

    def must_pass(self, step: int) -> frozenset[str]:
        """The names of the guardrails that must pass before the step ends."""
        named = self.steps[step].must_pass
        return self.guardrails.required if named is None else frozenset(named)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        problems = [
            *self._ratio_problems(),
            *self._step_problems(),
            *self._guardrail_problems(),
        ]
        if info.context != STORED:
            problems += self._impossibilities()
        raise_problems(type(self), problems)
        return self

    def _impossibilities(self) -> list[Problem]:
        """Fields that contradict each other, so that a rollout could never end."""
        found: list[Problem] = []
        for name in ("warm_up_seconds", "settle_seconds"):
            if (seconds := getattr(self, name)) >= self.deadline_seconds:
                why = (
                    f"must be below deadline_seconds, {self.deadline_seconds:g}: "
                    "at the deadline the step would end without a verdict"
                )
                found.append(((name,), why, seconds))
        for i, step in enumerate(self.steps):
            if step.takes_all and step.must_pass is not None:
                why = "must be left out at 100 %: no stable requests are left to compare with"
                found.append((("steps", i, "must_pass"), why, step.must_pass))
        for name in type(self.guardrails).model_fields:
            config = self.guardrails.of(name)
            if not config.enabled and config.required and "required" in config.model_fields_set:
                why = "must be false, or enabled must be true: a guardrail that is off cannot pass"
                found.append((("guardrails", name, "required"), why, config.required))
        return found

    def _ratio_problems(self) -> list[Problem]:
        wrong = ratio_problem(self.ratio)
        return [] if wrong is None else [(("ratio",), wrong, self.ratio)]

    def _guardrail_problems(self) -> list[Problem]:
        found: list[Problem] = []
        may = self.guardrails.able_to_pass
        for i, step in enumerate(self.steps):
            if step.must_pass is None and not self.guardrails.required and not step.shadow:
                why = "no guardrail must pass: require one, or name one in each step's must_pass"
                return [(("guardrails",), why, None)]
            for k, name in enumerate(step.must_pass or ()):
                if name not in may:
                    names = ", ".join(sorted(may)) or "none"
                    why = f"must be a guardrail that is enabled and can pass: {names}"
                    found.append((("steps", i, "must_pass", k), why, name))
        return found

    def _step_problems(self) -> list[Problem]:
        found: list[Problem] = []
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
                why = f"must exceed the previous weight, {before / 100:g}, by at least 0.01"
                found.append(((*at, "weight"), why, step.weight))
            if step.takes_all and before == 0:
                why = (
                    "must be below 100 in the first step, to leave stable requests to compare with"
                )
                found.append(((*at, "weight"), why, step.weight))
            before = max(before, step.weight_bp)
            if step.takes_all and step.min_dwell_seconds == 0:
                why = "must be above 0 at 100 %: a promotion has the same effect without a dwell"
                found.append(((*at, "min_dwell_seconds"), why, step.min_dwell_seconds))
            if step.takes_all and not step.approval:
                why = "must be true at 100 %: no comparison is possible, so a person must decide"
                found.append(((*at, "approval"), why, step.approval))
        if all(step.shadow for step in self.steps):
            found.append((("steps",), "needs a step with a weight after the shadow step", None))
        return found


def _shadow_problems(i: int, step: PlanStep) -> list[tuple[str, str, object]]:
    """For each wrong field: its name, what is wrong, and its value."""
    found: list[tuple[str, str, object]] = []
    if not step.shadow:
        only = "is for a shadow step; where the canary has a weight, the guardrails decide"
        given = {name: getattr(step, name) for name in ("min_agreement", "max_inference_ratio")}
        fields = PlanStep.model_fields
        return [(name, only, got) for name, got in given.items() if got != fields[name].default]
    if i:
        found.append(
            (
                "shadow",
                "is only possible in the first step, before the canary serves requests",
                step.shadow,
            )
        )
    if step.weight:
        found.append(("weight", "must be 0 or left out in a shadow step", step.weight))
    if step.must_pass is not None:
        why = "is not for a shadow step, because guardrails need canary requests"
        found.append(("must_pass", why, step.must_pass))
    return found
