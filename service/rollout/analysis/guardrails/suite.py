"""The guardrails that a plan enables, updated and assessed together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.e_process import EvidenceBounds, alpha_share
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import (
    AnalysisParameters,
    Guardrail,
    Measurement,
)
from service.rollout.analysis.guardrails.registry import GUARDRAILS, GuardrailConfigs
from service.rollout.analysis.verdict import Assessment, Verdict, assess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepRequirement:
    """Which guardrails must pass before a step ends.

    These are the `named` ones, and `with_evidence` those too that have enough evidence to pass.
    """

    named: frozenset[str]
    with_evidence: bool


@dataclass(frozen=True, slots=True)
class GuardrailSuite:
    """The guardrails that a plan enables, each with its share of alpha, and what each step of the
    plan requires of them. `service.rollout.plan.guardrail_suite` makes it from the plan."""

    guardrails: tuple[Guardrail[Any, Any], ...]
    requirements: tuple[StepRequirement, ...]

    @classmethod
    def of(
        cls,
        configs: GuardrailConfigs,
        parameters: AnalysisParameters,
        requirements: tuple[StepRequirement, ...],
        *,
        alpha: float,
        attempt: int,
    ) -> GuardrailSuite:
        """`alpha` is that of all attempts together, and `attempt` says how many times this canary
        has been started, including this time."""
        enabled = [g for g in GUARDRAILS if g.name in configs.enabled]
        alpha *= alpha_share(attempt)
        parts = sum(g.alpha_parts for g in enabled)
        return cls(
            tuple(
                guardrail(
                    configs.of(guardrail.name),
                    parameters,
                    EvidenceBounds(fail=alpha * guardrail.alpha_parts / parts, passing=alpha),
                )
                for guardrail in enabled
            ),
            requirements,
        )

    def initial_evidence(
        self, edges: tuple[float, ...], baseline: Mapping[str, Counts]
    ) -> Evidence:
        """The evidence before the first run. `baseline`: stable's requests before the rollout,
        by mode."""
        return Evidence(edges, {g.name: g.initial_state(baseline) for g in self.guardrails})

    def update(
        self, evidence: Evidence, measurement: Measurement, step: int
    ) -> tuple[Evidence, Assessment]:
        """The evidence after one more run, and its assessment.

        A guardrail that raises gets an error as its verdict, keeps its state, and does not
        affect the others.
        """
        verdicts: list[Verdict] = []
        for guardrail in self.guardrails:
            try:
                state = guardrail.update(_state(evidence, guardrail), measurement)
                verdict = _leaning_as_before(guardrail.assess(state), evidence)
            except Exception as problem:
                log.exception("the guardrail %s failed to judge the counts", guardrail.name)
                verdicts.append(guardrail.error(str(problem) or type(problem).__name__))
            else:
                evidence = evidence.with_state(guardrail.name, state).with_leaning(verdict)
                verdicts.append(verdict)
        return evidence, self._combine(verdicts, step)

    def assess(self, evidence: Evidence, step: int) -> Assessment:
        """The assessment of all runs so far."""
        verdicts = [g.assess(_state(evidence, g)) for g in self.guardrails]
        return self._combine([_leaning_as_before(v, evidence) for v in verdicts], step)

    def error(self, message: str, step: int) -> Assessment:
        """The assessment when the counts could not be read: an error of every guardrail."""
        return assess([g.error(message) for g in self.guardrails], self.requirements[step].named)

    def _combine(self, verdicts: Sequence[Verdict], step: int) -> Assessment:
        requirement = self.requirements[step]
        required = requirement.named
        if requirement.with_evidence:
            required |= {verdict.name for verdict in verdicts if verdict.binding}
        return assess(verdicts, required)


def _leaning_as_before(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict, which knows how its guardrail leaned at the evaluation before."""
    return verdict.after(evidence.leanings.get(verdict.name))


def _state(evidence: Evidence, guardrail: Guardrail[Any, Any]) -> Any:
    state = evidence.states.get(guardrail.name)
    return guardrail.initial_state({}) if state is None else state
