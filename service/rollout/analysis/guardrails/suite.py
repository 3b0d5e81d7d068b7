"""All guardrails of a plan: built, looked with and judged together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from service.rollout.analysis.e_process import EvidenceBounds, weight_of
from service.rollout.analysis.guardrails.config import edges_apart
from service.rollout.analysis.guardrails.error_rate import ErrorRateGuardrail, ErrorRateState
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement, error
from service.rollout.analysis.guardrails.interference import (
    InterferenceGuardrail,
    InterferenceState,
)
from service.rollout.analysis.guardrails.latency import LatencyGuardrail, LatencyState, Rule, What
from service.rollout.analysis.guardrails.latency_ceiling import (
    LatencyCeilingGuardrail,
    LatencyCeilingState,
)
from service.rollout.analysis.guardrails.quality import QualityGuardrail, QualityState
from service.rollout.analysis.verdict import Assessment, Verdict, assess
from service.rollout.plan.rollout_plan import RolloutPlan

log = logging.getLogger(__name__)

PARTS = {"latency": 4, "quality": 2}
"""Of alpha by guardrail, 1 for each of the others. These two need time to be sure of a
small difference; the others would see what they are there for with much less."""


def _latency(plan: RolloutPlan, bounds: EvidenceBounds, edges: tuple[float, ...]) -> Guardrail[Any]:
    return LatencyGuardrail("latency", bounds, Rule.of(plan), edges, What.REQUESTS)


def _inference(
    plan: RolloutPlan, bounds: EvidenceBounds, edges: tuple[float, ...]
) -> Guardrail[Any]:
    return LatencyGuardrail("inference", bounds, Rule.of(plan), edges, What.INFERENCE)


def _errors(plan: RolloutPlan, bounds: EvidenceBounds, _: tuple[float, ...]) -> Guardrail[Any]:
    return ErrorRateGuardrail("errors", bounds, plan.guardrails.errors.margin)


def _ceiling(plan: RolloutPlan, bounds: EvidenceBounds, edges: tuple[float, ...]) -> Guardrail[Any]:
    return LatencyCeilingGuardrail("ceiling", bounds, plan.guardrails.ceiling, plan.quantile, edges)


def _interference(
    plan: RolloutPlan, bounds: EvidenceBounds, edges: tuple[float, ...]
) -> Guardrail[Any]:
    ratio = plan.guardrails.interference.ratio
    return InterferenceGuardrail(
        name="interference",
        bounds=bounds,
        ratio=ratio,
        apart=edges_apart(ratio),
        quantile=plan.quantile,
        baseline_samples=plan.baseline_samples,
        edges=edges,
    )


def _quality(plan: RolloutPlan, bounds: EvidenceBounds, _: tuple[float, ...]) -> Guardrail[Any]:
    return QualityGuardrail("quality", bounds, plan.guardrails.quality)


BUILDERS: dict[str, Callable[[RolloutPlan, EvidenceBounds, tuple[float, ...]], Guardrail[Any]]] = {
    "latency": _latency,
    "inference": _inference,
    "errors": _errors,
    "quality": _quality,
    "ceiling": _ceiling,
    "interference": _interference,
}
"""Every guardrail there is, by its name in the plan; people see them in this order."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What every guardrail has seen; None for one that has not looked or is off.

    `edges` are the buckets it was counted in: seconds, without +Inf.
    """

    edges: tuple[float, ...]
    latency: LatencyState | None = None
    inference: LatencyState | None = None
    errors: ErrorRateState | None = None
    quality: QualityState | None = None
    ceiling: LatencyCeilingState | None = None
    interference: InterferenceState | None = None

    def next_step(self) -> Evidence:
        """After the weight has changed; see `base.GuardrailState`."""
        kept = {name: getattr(self, name) for name in BUILDERS}
        return replace(self, **{name: test and test.next_step() for name, test in kept.items()})


assert {field.name for field in fields(Evidence)} == {"edges", *BUILDERS}


@dataclass(frozen=True, slots=True)
class GuardrailSuite:
    """The guardrails that a plan turns on."""

    plan: RolloutPlan
    guardrails: tuple[Guardrail[Any], ...]

    @classmethod
    def of(cls, plan: RolloutPlan, edges: tuple[float, ...], attempt: int) -> GuardrailSuite:
        """`attempt`: how many times this canary has been started, this one included."""
        names = [name for name in BUILDERS if name in plan.guardrails.enabled]
        share = plan.alpha * weight_of(attempt)
        parts = {name: PARTS.get(name, 1) for name in names}
        of = {name: share * part / sum(parts.values()) for name, part in parts.items()}
        bounds = {name: EvidenceBounds(fail=of[name], passing=share) for name in names}
        return cls(plan, tuple(BUILDERS[name](plan, bounds[name], edges) for name in names))

    def look(self, evidence: Evidence, look: Measurement, step: int) -> tuple[Evidence, Assessment]:
        """One more look by all. One that breaks has an error for a verdict, keeps what
        it had seen, and leaves the others alone."""
        verdicts: list[Verdict] = []
        for guardrail in self.guardrails:
            try:
                test = guardrail.look(getattr(evidence, guardrail.name) or guardrail.begin(), look)
                verdicts.append(guardrail.assess(test))
            except Exception as problem:
                log.exception("the guardrail %s could not judge", guardrail.name)
                verdicts.append(error(guardrail, str(problem) or type(problem).__name__))
            else:
                evidence = replace(evidence, **{guardrail.name: test})
        return evidence, self._judged(verdicts, step)

    def assess(self, evidence: Evidence, step: int) -> Assessment:
        """What they say of all looks so far."""
        return self._judged(
            [g.assess(getattr(evidence, g.name) or g.begin()) for g in self.guardrails], step
        )

    def _judged(self, verdicts: Sequence[Verdict], step: int) -> Assessment:
        return assess(verdicts, self._must_pass(verdicts, step))

    def _must_pass(self, verdicts: Sequence[Verdict], step: int) -> frozenset[str]:
        """The plan's, and what binds by the evidence it has where the step names none."""
        wanted = self.plan.must_pass(step)
        if self.plan.steps[step].must_pass is not None:
            return wanted
        return wanted | {verdict.name for verdict in verdicts if verdict.binding}

    def unreadable(self, message: str, step: int) -> Assessment:
        """The evidence could not be read: an error of every guardrail."""
        return assess([error(g, message) for g in self.guardrails], self.plan.must_pass(step))
