"""The guardrails latency and inference: canary P95 ≤ ratio · stable P95, valid at every look.

Counts in, a verdict out. The test is a conditional e-process on slow events. At
each look, with τ = the bucket edge at stable's P95 taken from *earlier* looks, a
request is *marked* when it is slower than τ (stable) or than ratio·τ (canary).
Given how many requests each arm had and how many marks there are in all, random
assignment makes the canary's marks `a` hypergeometric if both arms are marked at
the same rate, so for any r > 1 (Hoeffding 1963, §6)

    E[r^a] ≤ (1 + w·(r - 1))^(a + b),   w = canary's share of the requests,

and the product over looks of r^a / (1 + w·(r - 1))^(a+b) is a supermartingale
while the canary complies, whatever the ramp, drift or autocorrelation that both
arms share. The mirror image (r → 1/r) is the evidence that the canary complies.
Stakes, clip and bounds are those of `wager`. Two more things keep it valid and
make it useful:

- **Strata.** A look is taken per request mode: a context and a single vector
  differ by orders of magnitude, and a different mix would look like a
  regression. Given the counts the strata are independent: factors multiply.
  A frequent mode that is fine would outweigh a rare one that is not, so half the
  stake for a fail is on each mode alone, in equal parts: a mean of supermartingales
  whose weights are fixed beforehand is one. A mode's own bet is the pooled one until
  its first request is judged, which is known before the look's marks are; with one
  mode it costs nothing. And a pass is held back while any mode's canary is marked
  more often than its share by two standard deviations, or while one with more than
  1 - quantile of the requests, enough to move the percentile by itself, has not been
  judged. To pass less often is always valid.
- **Errors count.** A request that ended in a fault or a timeout is marked
  whatever its duration, in both arms by the same rule: its answer never came. The
  argument needs a mark to be a 0/1 property of a request under random assignment.
  Leaving failed requests out would compare what is left after the variants have
  had their effect, which is not random any more, and a canary that times out
  would lose its tail. How many may fail is for the guardrail `errors` to say.

The clip lets a stall of the canary alone pass: if one falls into the first minute of
judging, the most sensitive one, it rolls back 0 of 100 canaries when it lasts 4 s, 8
when 10 s and 36 when 20 s (`nextvec simulate --stall`: a look every 15 s, alpha 0.01).

At a step of 100 % there is no stable arm. There the canary's marks are held
against a fixed rate, twice what the percentile allows, with τ as last measured:
E[r^a] ≤ (1 + p(r - 1))^n. That assumes that stable would not have slowed down in
the meantime, hence the factor of two; it can only fail, never pass.

`inference` is the same test over the time in the engine alone: no queue, no
neighbours' requests, hence the sooner and cleaner of the two. It may roll back and
does not have to pass: callers wait for the whole. Predictions that fail have no
inference time and are in neither arm.

Where speed cannot be judged (warm-up, settling after a change of weight, τ not yet
known, no requests of one arm) the test holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from service.rollout.analysis.counters import (
    Counters,
    Counts,
    CountsByArm,
    percentile,
    percentile_bucket,
)
from service.rollout.analysis.e_process import (
    EProcess,
    EvidenceBounds,
    log_held_against,
    log_mean_exp,
)
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.verdict import Verdict, VerdictOutcome
from service.rollout.plan.rollout_plan import RolloutPlan
from service.types import Mode

GRID = (1.15, 1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)
"""Odds bet on against the canary; the evidence is the mean over them."""

PASS_GRID = (1.3, 1.5, 1.75, 2.0, 2.35, 2.75, 3.2, 4.0)
"""Odds bet on for it, inverted. Closer: of identical arms the canary is marked less
often by a factor known from the tail, 1.5 (lognormal, σ = 1) to 2.9 (σ = 0.4)."""


class Condition(StrEnum):
    """Why a stratum's latency is not judged."""

    BASELINE = "baseline"
    SATURATED = "saturated"


@dataclass(frozen=True, slots=True)
class Rule:
    """The guardrail's figures. `apart` is the number of bucket edges from τ to ratio·τ."""

    ratio: float
    quantile: float
    apart: int
    baseline_samples: int

    @classmethod
    def of(cls, plan: RolloutPlan) -> Rule:
        return cls(plan.ratio, plan.quantile, plan.edges_apart, plan.baseline_samples)


@dataclass(frozen=True, slots=True)
class SlowCounts:
    """Requests judged so far: how many, and how many of them marked."""

    canary: int = 0
    stable: int = 0
    canary_marked: int = 0
    stable_marked: int = 0

    def plus(self, new: CountsByArm, canary_marked: int, stable_marked: int) -> SlowCounts:
        return SlowCounts(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.canary_marked + canary_marked,
            self.stable_marked + stable_marked,
        )

    @property
    def stands_out(self) -> bool:
        """Whether the canary's marks are over its share of all by two standard deviations
        of a Poisson count, and one more for small ones."""
        if not self.canary:
            return False
        marked = self.canary_marked + self.stable_marked
        share = self.canary / (self.canary + self.stable) * marked
        return self.canary_marked > share + 2 * math.sqrt(share + 1)


@dataclass(frozen=True, slots=True)
class LatencyStratum:
    """What is known of one request mode.

    `window` holds stable's durations of earlier looks, faults in +Inf; `rollout`
    and `step` tally what was judged; `seen` is what was judged in this step, `came`
    how many requests did, judged or not. `wager` is on this mode alone, from its
    first bet on.
    """

    window: tuple[float, ...]
    seen: CountsByArm
    rollout: SlowCounts = SlowCounts()
    step: SlowCounts = SlowCounts()
    came: int = 0
    wager: EProcess | None = None

    def plus(self, new: CountsByArm, canary_marked: int, stable_marked: int) -> LatencyStratum:
        """With what one look judged, and marked, of it."""
        marked = (new, canary_marked, stable_marked)
        return replace(
            self,
            seen=self.seen.plus(new),
            rollout=self.rollout.plus(*marked),
            step=self.step.plus(*marked),
        )


class What(StrEnum):
    """Which of the counts is judged, and in words what was slow."""

    REQUESTS = "failed or took longer"
    INFERENCE = "took the engine longer"

    def arms(self, counted: Counters) -> dict[str, CountsByArm]:
        return counted.requests if self is What.REQUESTS else counted.inference


@dataclass(frozen=True, slots=True)
class LatencyState:
    """The test's whole memory, by request mode."""

    wager: EProcess = field(default_factory=lambda: EProcess.over(len(GRID), len(PASS_GRID)))
    strata: dict[str, LatencyStratum] = field(default_factory=dict)

    def next_step(self) -> LatencyState:
        strata = {
            mode: replace(
                stratum,
                seen=stratum.seen.blank(),
                step=SlowCounts(),
                came=0,
                wager=stratum.wager.next_step() if stratum.wager else None,
            )
            for mode, stratum in self.strata.items()
        }
        return LatencyState(self.wager.next_step(), strata)

    def log_fail(self) -> float:
        """ln E for a fail: half the stake on all modes together, half on each alone."""
        pooled = self.wager.log_fail()
        alone = [s.wager.log_fail() for s in self.strata.values() if s.wager is not None]
        # One that has no bet yet follows the pooled one, so that the first costs nothing.
        alone += [pooled] * (len(Mode) - len(alone))
        return log_mean_exp((pooled, log_mean_exp(alone)))


@dataclass(frozen=True, slots=True)
class LatencyGuardrail:
    """The guardrail over a duration. `edges` are the upper bucket edges in seconds;
    `what` says which of the counts, and in words what one of them is."""

    name: str
    bounds: EvidenceBounds
    rule: Rule
    edges: tuple[float, ...]
    what: What

    @property
    def threshold(self) -> float:
        return self.rule.ratio

    def begin(self) -> LatencyState:
        return LatencyState()

    def look(self, test: LatencyState, look: Measurement) -> LatencyState:
        """A stratum without requests of one arm holds: no data neither passes nor fails."""
        fail = [0.0] * len(GRID)
        good = [0.0] * len(PASS_GRID)
        strata = dict(test.strata)
        moved = False
        for mode, new in self.what.arms(look.new).items():
            old = strata.get(mode) or _stratum(self.edges)
            tau = threshold(old, self.edges, self.rule) if look.steady else None
            window = _slide(old.window, new.stable, self.rule.baseline_samples)
            came = old.came + new.canary.total + new.stable.total
            # τ moves only now, for the next look.
            strata[mode] = replace(old, window=window, came=came)
            if not isinstance(tau, int):
                continue
            marks = new.canary.over(tau + self.rule.apart), new.stable.over(tau)
            bet = _bet(new, marks, self.rule, alone=look.alone)
            if bet is None:
                continue
            moved = True
            against = [bet.log_factor(odds) for odds in GRID]
            before = old.wager or test.wager
            only = before.after(against, [0.0] * len(PASS_GRID), self.bounds)
            strata[mode] = replace(strata[mode].plus(new, *marks), wager=only)
            fail = [x + y for x, y in zip(fail, against, strict=True)]
            if not look.alone:
                good = [x + bet.log_factor(1 / o) for x, o in zip(good, PASS_GRID, strict=True)]
        wager = test.wager.after(fail, good, self.bounds) if moved else test.wager
        return LatencyState(wager, strata)

    def assess(self, test: LatencyState) -> Verdict:
        fail, good = test.log_fail(), test.wager.log_pass()
        outcome, words = self.bounds.verdict(test.wager, fail)
        slower = [mode for mode, stratum in sorted(test.strata.items()) if stratum.step.stands_out]
        if outcome is VerdictOutcome.PASS and slower:
            outcome = VerdictOutcome.INCONCLUSIVE
            words += f" over all, but {' and '.join(slower)} stands out as slower"
        if outcome is VerdictOutcome.PASS and (unjudged := self._unjudged(test)):
            outcome = VerdictOutcome.INCONCLUSIVE
            words += f" over all, but {' and '.join(unjudged)} cannot be judged yet"
        # The fail side counts over the whole rollout, the pass side over the step.
        tallies = {
            mode: stratum.rollout if outcome is VerdictOutcome.FAIL else stratum.step
            for mode, stratum in sorted(test.strata.items())
        }
        after = (
            f"after {sum(t.canary for t in tallies.values())} canary "
            f"and {sum(t.stable for t in tallies.values())} stable requests"
        )
        clauses = [self._clause(mode, test.strata[mode], tally) for mode, tally in tallies.items()]
        steps = [stratum.step for stratum in test.strata.values()]
        p95 = self._percentiles(test)
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join([f"{outcome}: {words} {after}", *filter(None, clauses)]),
            threshold=self.rule.ratio,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=fail,
            log_pass=good,
            canary=sum(tally.canary for tally in steps),
            stable=sum(tally.stable for tally in steps),
            ratio=_ratio(p95),
            details={
                "p95_seconds": p95,
                "strata": [self._stratum(mode, test.strata[mode]) for mode in sorted(test.strata)],
            },
        )

    def _unjudged(self, test: LatencyState) -> list[str]:
        """Modes that make up enough of the requests to move the percentile by themselves,
        and whose latency has not been compared in this step."""
        enough = (1 - self.rule.quantile) * sum(s.came for s in test.strata.values())
        return [
            mode
            for mode, stratum in sorted(test.strata.items())
            if stratum.came > enough and not stratum.step.canary
        ]

    def _percentiles(self, test: LatencyState) -> dict[str, float | None]:
        """Of the mode with the most evidence in this step; None where there is no figure."""
        strata = sorted(test.strata.items())
        main = max(
            (s for _, s in strata), key=lambda s: min(s.step.canary, s.step.stable), default=None
        )
        return {
            "canary": self._percentile(main.seen.canary) if main else None,
            "stable": self._percentile(main.seen.stable) if main else None,
        }

    def _percentile(self, counts: Counts) -> float | None:
        return percentile(counts, self.edges, self.rule.quantile)

    def _stratum(self, mode: str, stratum: LatencyStratum) -> dict[str, object]:
        """One request mode, for people: what was judged in this step, and the τ to come."""
        tau, step = threshold(stratum, self.edges, self.rule), stratum.step
        return {
            "mode": mode,
            "tau_seconds": self.edges[tau] if isinstance(tau, int) else None,
            "samples": {"canary": step.canary, "stable": step.stable},
            "slow": {"canary": step.canary_marked, "stable": step.stable_marked},
            "faults": {"canary": stratum.seen.canary.faults, "stable": stratum.seen.stable.faults},
            "p95_seconds": {
                "canary": self._percentile(stratum.seen.canary),
                "stable": self._percentile(stratum.seen.stable),
            },
        }

    def _clause(self, mode: str, stratum: LatencyStratum, tally: SlowCounts) -> str:
        """What one mode showed, and what it waits for; empty if it saw nothing."""
        rule, total = self.rule, sum(stratum.window)
        if not total and not tally.canary:
            return ""
        tau = threshold(stratum, self.edges, rule)
        if tau is Condition.BASELINE:
            return f"{mode}: τ waits for {total:.0f} of {rule.baseline_samples} stable requests"
        if tau is Condition.SATURATED:
            top = seconds(self.edges[-1])
            return f"{mode}: stable's P{rule.quantile * 100:g} is too near the top bucket, {top}"
        assert isinstance(tau, int)
        slow, edge = seconds(self.edges[tau + rule.apart]), seconds(self.edges[tau])
        return (
            f"{mode}: {tally.canary_marked} canary requests {self.what} than "
            f"{rule.ratio:g}·τ = {slow}, against {tally.stable_marked} stable ones "
            f"than τ = {edge}"
        )


def threshold(stratum: LatencyStratum, edges: Sequence[float], rule: Rule) -> int | Condition:
    """The number of the edge τ, stable's percentile in earlier looks; or why there is none.

    Held back when τ or ratio·τ falls into +Inf: both arms would saturate there
    and compare as equal.
    """
    total = sum(stratum.window)
    if total < rule.baseline_samples:
        return Condition.BASELINE
    at = percentile_bucket(stratum.window, rule.quantile)
    return at if at + rule.apart < len(edges) else Condition.SATURATED


def seconds(value: float) -> str:
    """A duration for people."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


@dataclass(frozen=True, slots=True)
class _Bet:
    """`marked` of the canary among `trials`, each expected to be its with chance `share`."""

    marked: int
    trials: int
    share: float

    def log_factor(self, odds: float) -> float:
        return log_held_against(self.share, self.marked, self.trials, odds)


def _bet(new: CountsByArm, marks: tuple[int, int], rule: Rule, *, alone: bool) -> _Bet | None:
    """One stratum's bet in this look; None where there is nothing to bet on."""
    canary, stable = new.canary.total, new.stable.total
    a, b = marks
    if not canary:
        return None
    if alone:
        return _Bet(a, canary, min(1.0, 2 * (1 - rule.quantile)))
    return _Bet(a, a + b, canary / (canary + stable)) if stable else None


def _slide(window: tuple[float, ...], new: Counts, baseline_samples: int) -> tuple[float, ...]:
    """Stable's recent past: halved whenever it holds four baselines.

    τ follows a load that drifts over hours, so that it stays near stable's P95,
    where the rule is meant to compare; a mean over the whole rollout would not.
    """
    added = [w + n for w, n in zip(window, new.durations, strict=True)]
    added[-1] += new.faults
    if sum(added) >= 4 * baseline_samples:
        added = [w / 2 for w in added]
    return tuple(added)


def _stratum(edges: Sequence[float]) -> LatencyStratum:
    blank = Counts.none(edges)
    return LatencyStratum((0.0,) * (len(edges) + 1), CountsByArm(blank, blank))


def _ratio(seconds: dict[str, float | None]) -> float | None:
    canary, stable = seconds["canary"], seconds["stable"]
    return None if canary is None or stable is None else canary / stable
