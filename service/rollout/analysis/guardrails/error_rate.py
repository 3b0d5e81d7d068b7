"""The errors guardrail: canary's error rate ≤ stable's + margin, valid at every look.

A request fails by an engine's fault, NaN or Inf in its output, or the service's
deadline; what the caller did wrong is not counted at all. Of a look's requests the
canary had the share w, `a` of its requests failed and `b` of stable's. For odds r > 1
let d = 1 + w(r - 1). A request is worth

    r/d if it is the canary's and fails, 1/d if it is stable's and fails, else 1.

It is the canary's with chance w. If it fails there with chance c and on stable with
chance s, its mean worth is 1 + w(1-w)(r-1)(c - s)/d: linear in the *difference* of the
two chances, whatever they are themselves. So, by the inequality of the arithmetic and
geometric mean over n requests, as long as the difference is m at most on average,

    E[ r^a / d^(a+b) ] ≤ (1 + w(1-w)(r-1)·m/d)^n,

and the product over looks of the left side over the right one is a supermartingale
while the canary complies, however the error rate of both moves with the load or with
what is asked. At m = 0 it is the test of `latency`. The mirror image, r < 1 and the
difference m at least, is the case for a pass. The difference of two rates with a
margin is the null hypothesis of Turner & Grünwald 2023 ("Exact anytime-valid
confidence intervals for contingency tables and beyond"). Their e-variable is the
best one if a request's failure is drawn anew each time; this one needs only that its
variant is, and keeps its error where failures come in equal numbers (a client that
sends one poisonous request a second).

Strata, stakes and clip are as in `latency` and `wager`. What is different: errors are
judged from the first look, warm-up and settling included. A cold start excuses
slowness, not faults.

At 100 % there is no stable arm: `a` of n is then held against a fixed rate p, twice
stable's in this rollout plus the margin: E[r^a] ≤ (1 + p(r - 1))^n. It can only fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from service.rollout.analysis.counters import CountsByArm
from service.rollout.analysis.e_process import EProcess, EvidenceBounds, log_held_against
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.verdict import Verdict, VerdictOutcome

GRID = (1.25, 1.6, 2.2, 3.0, 5.0, 10.0, 25.0)
"""The best odds are c/(s + m): from little over the margin to half of all requests."""

PASS_GRID = (0.02, 0.1, 0.25, 0.45, 0.65, 0.8)


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """Requests judged, and how many of them failed."""

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
    """The test's whole memory, over all request modes."""

    wager: EProcess = field(default_factory=lambda: EProcess.over(len(GRID), len(PASS_GRID)))
    rollout: FailureCounts = FailureCounts()
    step: FailureCounts = FailureCounts()

    def next_step(self) -> ErrorRateState:
        return replace(self, wager=self.wager.next_step(), step=FailureCounts())


@dataclass(frozen=True, slots=True)
class ErrorRateGuardrail:
    """The guardrail. `margin` is a difference of rates, 0..1."""

    name: str
    bounds: EvidenceBounds
    margin: float

    @property
    def threshold(self) -> float:
        """The ratio is canary's rate over what it may be, stable's and the margin."""
        return 1.0

    def begin(self) -> ErrorRateState:
        return ErrorRateState()

    def look(self, test: ErrorRateState, look: Measurement) -> ErrorRateState:
        """A mode without requests of one arm holds: no data neither passes nor fails."""
        fail, good = [0.0] * len(GRID), [0.0] * len(PASS_GRID)
        rollout, step = test.rollout, test.step
        # Stable's own as known before this look.
        fixed = min(1.0, 2 * (rollout.stable_rate or 0.0) + self.margin)
        moved = False
        for new in look.new.requests.values():
            canary, stable = new.canary.total, new.stable.total
            if not canary or not (stable or look.alone):
                continue
            moved = True
            rollout, step = rollout.plus(new), step.plus(new)
            if look.alone:
                fail = [
                    x + log_held_against(fixed, new.canary.faults, canary, r)
                    for x, r in zip(fail, GRID, strict=True)
                ]
                continue
            fail = [x + self._factor(new, r) for x, r in zip(fail, GRID, strict=True)]
            good = [x + self._factor(new, q) for x, q in zip(good, PASS_GRID, strict=True)]
        wager = test.wager.after(fail, good, self.bounds) if moved else test.wager
        return ErrorRateState(wager, rollout, step)

    def _factor(self, new: CountsByArm, odds: float) -> float:
        """ln of what one mode's requests of a look are worth."""
        requests = new.canary.total + new.stable.total
        share = new.canary.total / requests
        d = 1 + share * (odds - 1)
        worth = new.canary.faults * math.log(odds)
        worth -= (new.canary.faults + new.stable.faults) * math.log(d)
        allowed = share * (1 - share) * (odds - 1) * self.margin / d
        return worth - requests * math.log1p(allowed)

    def assess(self, test: ErrorRateState) -> Verdict:
        outcome, words = self.bounds.verdict(test.wager)
        # The fail side counts over the whole rollout, the pass side over the step.
        seen = test.rollout if outcome is VerdictOutcome.FAIL else test.step
        step = test.step
        told = (
            f"{seen.canary_failed} of {seen.canary} canary requests failed and "
            f"{seen.stable_failed} of {seen.stable} stable ones, "
            f"{_percent(self.margin)} more may"
        )
        return Verdict(
            name=self.name,
            outcome=outcome,
            message=f"{outcome}: {words}; {told}",
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=test.wager.log_fail(),
            log_pass=test.wager.log_pass(),
            canary=step.canary,
            stable=step.stable,
            ratio=self._ratio(step),
            details={
                "margin": self.margin,
                "failed": {"canary": step.canary_failed, "stable": step.stable_failed},
                "error_rate": {"canary": step.canary_rate, "stable": step.stable_rate},
            },
        )

    def _ratio(self, step: FailureCounts) -> float | None:
        if step.canary_rate is None or step.stable_rate is None:
            return None
        return step.canary_rate / (step.stable_rate + self.margin)


def _percent(share: float) -> str:
    return f"{share:.2%}".replace(".00%", "%").replace("%", " %")
