"""The guardrail errors: canary's error rate ≤ stable's + margin, valid at every evaluation.

A request fails through an engine fault, NaN or Inf in its output, or the service's
deadline. The caller's own mistakes are not counted at all. In one analysis run the canary
had the share w of the requests, `a` of its requests failed and `b` of stable's. For odds
r > 1 let d = 1 + w(r - 1). A request is worth

    r/d if it is the canary's and fails, 1/d if it is stable's and fails, 1 otherwise.

It is the canary's with probability w. If it fails with probability c on the canary and s
on stable, its mean worth is 1 + w(1-w)(r-1)(c - s)/d: linear in the *difference* of the
two probabilities, whatever they are. So, by the inequality of the arithmetic and geometric
mean over n requests, as long as the average difference is at most m,

    E[ r^a / d^(a+b) ] ≤ (1 + w(1-w)(r-1)·m/d)^n,

and the product over runs of the left side over the right side is a supermartingale while
the canary complies, however the error rate of both arms moves with the load or with the
requests. At m = 0 it is the test of `latency`. The mirror image, with r < 1 and a
difference of at least m, is the case for a pass. The difference of two rates with a margin
is the null hypothesis of Turner & Grünwald 2023 ("Exact anytime-valid confidence intervals
for contingency tables and beyond"). Their e-variable is optimal if each failure is an
independent draw. This one only needs the variant to be drawn, and keeps its error
probability when failures come in equal numbers, such as from a client that sends one
poisonous request a second.

Strata, stakes and clip are as in `latency` and `e_process`. There is one difference: errors
are judged from the first run, including warm-up and settling. A cold start excuses
slowness, not faults.

At 100 % there is no stable arm. There `a` of n requests is compared with a fixed rate p,
twice stable's in this rollout plus the margin: E[r^a] ≤ (1 + p(r - 1))^n. It can only fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from pydantic import Field

from service.rollout.analysis.comparison import Comparison, DifferenceKind, ValueUnit
from service.rollout.analysis.counters import Counts, CountsByArm
from service.rollout.analysis.e_process import EProcess, log_binomial_factor
from service.rollout.analysis.formatting import format_share
from service.rollout.analysis.guardrails.config import GuardrailConfig, Number
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.verdict import Verdict, VerdictOutcome

FAIL_ODDS = (1.25, 1.6, 2.2, 3.0, 5.0, 10.0, 25.0)
"""The best odds are c/(s + m): from little more than the margin to half of all requests."""

PASS_ODDS = (0.02, 0.1, 0.25, 0.45, 0.65, 0.8)


class ErrorRateConfig(GuardrailConfig):
    """The canary's share of failed requests, compared with stable's."""

    required: bool = Field(default=True, description="Every step needs its pass.")
    margin: Number = Field(
        0.01,
        ge=0.0005,
        le=0.5,
        description="The most by which the canary's error rate may exceed stable's, 0..1.",
    )


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """How many requests were judged, and how many of them failed."""

    canary: int = 0
    stable: int = 0
    canary_failed: int = 0
    stable_failed: int = 0

    def plus(self, new: CountsByArm) -> FailureCounts:
        return FailureCounts(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.canary_failed + new.canary.faults,
            self.stable_failed + new.stable.faults,
        )

    @property
    def canary_rate(self) -> float | None:
        return self.canary_failed / self.canary if self.canary else None

    @property
    def stable_rate(self) -> float | None:
        return self.stable_failed / self.stable if self.stable else None


@dataclass(frozen=True, slots=True)
class ErrorRateState:
    """The evidence over all request modes."""

    e_process: Annotated[EProcess, Field(alias="wager")] = field(
        default_factory=lambda: EProcess.initial(len(FAIL_ODDS), len(PASS_ODDS))
    )
    rollout: FailureCounts = FailureCounts()
    step: FailureCounts = FailureCounts()

    def next_step(self) -> ErrorRateState:
        return replace(self, e_process=self.e_process.next_step(), step=FailureCounts())


class ErrorRateGuardrail(Guardrail[ErrorRateConfig, ErrorRateState]):
    """The guardrail over failed requests."""

    name: ClassVar[str] = "errors"
    config_type: ClassVar[type[GuardrailConfig]] = ErrorRateConfig
    state_type: ClassVar[type[ErrorRateState]] = ErrorRateState

    @property
    def label(self) -> str:
        return "Error rate"

    @property
    def threshold(self) -> float:
        """The verdict's ratio is the canary's rate over its limit, stable's plus the margin."""
        return 1.0

    def initial_state(self, baseline: Mapping[str, Counts]) -> ErrorRateState:  # noqa: ARG002 - part of the interface
        return ErrorRateState()

    def update(self, state: ErrorRateState, measurement: Measurement) -> ErrorRateState:
        """A mode without requests of one arm changes nothing: no data is no evidence."""
        fail_factors, pass_factors = [0.0] * len(FAIL_ODDS), [0.0] * len(PASS_ODDS)
        rollout, step = state.rollout, state.step
        # From stable's rate as known before this run.
        fixed_rate = min(1.0, 2 * (rollout.stable_rate or 0.0) + self.config.margin)
        judged = False
        for new in measurement.counters.requests.values():
            canary, stable = new.canary.total, new.stable.total
            if not canary or not (stable or measurement.canary_only):
                continue
            judged = True
            rollout, step = rollout.plus(new), step.plus(new)
            if measurement.canary_only:
                fail_factors = [
                    x + log_binomial_factor(fixed_rate, new.canary.faults, canary, odds)
                    for x, odds in zip(fail_factors, FAIL_ODDS, strict=True)
                ]
                continue
            fail_factors = [
                x + self._log_factor(new, odds)
                for x, odds in zip(fail_factors, FAIL_ODDS, strict=True)
            ]
            pass_factors = [
                x + self._log_factor(new, odds)
                for x, odds in zip(pass_factors, PASS_ODDS, strict=True)
            ]
        if not judged:
            return state
        process = state.e_process.update(fail_factors, pass_factors, self.bounds)
        return ErrorRateState(process, rollout, step)

    def assess(self, state: ErrorRateState) -> Verdict:
        outcome, text = self.bounds.assess(state.e_process)
        # The fail side counts over the whole rollout, the pass side over the step.
        shown = state.rollout if outcome is VerdictOutcome.FAIL else state.step
        step = state.step
        return Verdict(
            name=self.name,
            outcome=outcome,
            message=(
                f"{outcome}: {text}; "
                f"canary: {shown.canary_failed} of {shown.canary} requests failed, "
                f"stable: {shown.stable_failed} of {shown.stable}, "
                f"allowed difference: {format_share(self.config.margin, 2)}"
            ),
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=state.e_process.log_fail(),
            log_pass=state.e_process.log_pass(),
            canary=step.canary,
            stable=step.stable,
            ratio=self._ratio(step),
            details={
                "margin": self.config.margin,
                "failed": {"canary": step.canary_failed, "stable": step.stable_failed},
                "error_rate": {"canary": step.canary_rate, "stable": step.stable_rate},
            },
            label=self.label,
            comparison=self._compare(shown),
        )

    def _compare(self, shown: FailureCounts) -> Comparison:
        """Both error rates in words."""
        canary, stable = shown.canary_rate, shown.stable_rate
        points = None if canary is None or stable is None else 100 * (canary - stable)
        most = 100 * self.config.margin
        allowed = f"up to {most:g} {'point' if most == 1 else 'points'} more is allowed"
        if canary is None:
            short = text = "error rate is not known yet: no request of the canary has ended"
        elif points is None:
            short = text = f"error rate is {format_share(canary, 2)}"
        else:
            rates = f"error rate is {format_share(canary, 2)}, stable's {format_share(stable, 2)}"
            failed = (
                f"{shown.canary_failed} of {shown.canary} and "
                f"{shown.stable_failed} of {shown.stable} requests failed"
            )
            short, text = f"{rates} ({allowed})", f"{rates} ({failed}; {allowed})"
        return Comparison(
            text=text,
            short=short,
            value_unit=ValueUnit.SHARE,
            kind=DifferenceKind.POINTS,
            limit=100 * self.config.margin,
            stable=stable,
            canary=canary,
            difference=points,
            suspicion="looks faulty",
            fault="too many of its requests failed",
        )

    def _log_factor(self, new: CountsByArm, odds: float) -> float:
        """The log factor of one mode's requests in one run."""
        requests = new.canary.total + new.stable.total
        share = new.canary.total / requests
        d = 1 + share * (odds - 1)
        worth = new.canary.faults * math.log(odds)
        worth -= (new.canary.faults + new.stable.faults) * math.log(d)
        allowed = share * (1 - share) * (odds - 1) * self.config.margin / d
        return worth - requests * math.log1p(allowed)

    def _ratio(self, step: FailureCounts) -> float | None:
        if step.canary_rate is None or step.stable_rate is None:
            return None
        return step.canary_rate / (step.stable_rate + self.config.margin)
