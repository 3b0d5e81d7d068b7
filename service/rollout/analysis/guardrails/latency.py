"""The latency guardrail: canary P95 ≤ ratio · stable P95, valid at every evaluation.

The test is a conditional e-process on slow requests. In each analysis run, with τ = the
bucket edge at stable's P95 taken from *earlier* runs, a request is *marked* when it is
slower than τ (stable) or slower than ratio·τ (canary). Given how many requests each arm
had and how many marks there are in all, random assignment makes the canary's marks `a`
hypergeometric if both arms are marked at the same rate. So for any r > 1 (Hoeffding
1963, §6)

    E[r^a] ≤ (1 + w·(r - 1))^(a + b),   w = canary's share of the requests,

with `b` the stable marks. The product over runs of r^a / (1 + w·(r - 1))^(a+b) is a
supermartingale while the canary complies, whatever ramp, drift or autocorrelation both
arms share. Its mirror image (r → 1/r) is the evidence that the canary complies. Stakes,
clip and bounds are those of `e_process`. Two more rules keep the test valid and useful:

- **Strata.** Each run is evaluated by request mode. A context and a single vector differ
  by orders of magnitude, and a different mix would look like a regression. Given the
  counts, the strata are independent, so their factors multiply. A frequent mode that is
  fine would outweigh a rare one that is not. So half the stake for a fail is on each mode
  alone, in equal parts: a mean of supermartingales whose weights are fixed in advance is
  a supermartingale. Until a mode's first request is judged, its own bet equals the pooled
  one; that is known before the run's marks are. With one mode it costs nothing. A pass is
  held back while the canary's marks in any mode exceed its share by two standard
  deviations. It is also held back while a mode with more than 1 - quantile of the
  requests, enough to move the percentile by itself, has not been judged. Passing less
  often is always valid.
- **Errors count.** A request that ended in a fault or a timeout is marked whatever its
  duration, in both arms, because its answer never came. The argument needs a mark to be
  a 0/1 property of a request under random assignment. Without the failed requests, the
  test would compare what is left after the variants have had their effect, which is no
  longer random, and a canary that times out would lose its tail. How many requests may
  fail is the business of the guardrail `errors`.

The clip tolerates a stall of the canary alone. A stall in the first minute of judging,
the most sensitive one, rolls back 0 of 100 canaries when it lasts 4 s, 8 when it lasts
10 s and 36 when it lasts 20 s (`nextvec simulate --stall`: a run every 15 s, alpha 0.01).

A step of 100 % leaves no stable arm. There the canary's marks are compared with a fixed
rate, twice what the percentile allows, with τ as last measured: E[r^a] ≤ (1 + p(r - 1))^n.
This assumes that stable would not have slowed down in the meantime, hence the factor of
two. It can only fail, never pass.

The evidence does not change while latency cannot be judged: during warm-up and after a
change of weight, without a τ, or without requests of one arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field

from service.rollout.analysis.bucket_edges import edge_distance
from service.rollout.analysis.comparison import (
    Comparison,
    DifferenceKind,
    RatioInterval,
    ValueUnit,
)
from service.rollout.analysis.counters import Counters, Counts, CountsByArm, percentile
from service.rollout.analysis.e_process import EProcess, log_binomial_factor
from service.rollout.analysis.formatting import (
    compare_seconds,
    format_count,
    format_seconds,
    format_share,
    format_value_seconds,
)
from service.rollout.analysis.guardrails.config import GuardrailConfig
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.guardrails.latency_stratum import (
    LatencyStratum,
    SlowCounts,
    ThresholdGap,
)
from service.rollout.analysis.ratio_interval import JudgedCounts, RatioLadder, mixed_log_fail
from service.rollout.analysis.verdict import LEANING, Verdict, VerdictOutcome
from service.types import Mode

FAIL_ODDS = (1.15, 1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)
"""The odds of the bets against the canary; the evidence is their mean."""

PASS_ODDS = (1.3, 1.5, 1.75, 2.0, 2.35, 2.75, 3.2, 4.0)
"""The odds of the bets for the canary, inverted. They are closer together: if the arms are
identical, the canary is marked less often by a factor that follows from the tail, 1.5
(lognormal, σ = 1) to 2.9 (σ = 0.4)."""


class LatencyConfig(GuardrailConfig):
    """The canary's P95 of whole requests over stable's; see the plan's `ratio` and `quantile`."""

    required: bool = Field(default=True, description="Every step needs its pass.")


@dataclass(frozen=True, slots=True)
class LatencyState:
    """The evidence on all modes together, and on each.

    `ladder` is the same evidence at other ratios than the plan's, for the interval. None in a
    rollout that began without it.
    """

    e_process: Annotated[EProcess, Field(alias="wager")] = field(
        default_factory=lambda: EProcess.initial(len(FAIL_ODDS), len(PASS_ODDS))
    )
    strata: dict[str, LatencyStratum] = field(default_factory=dict)
    ladder: RatioLadder | None = None

    def next_step(self) -> LatencyState:
        strata = {mode: stratum.next_step() for mode, stratum in self.strata.items()}
        ladder = self.ladder and self.ladder.next_step()
        return LatencyState(self.e_process.next_step(), strata, ladder)

    def log_fail(self) -> float:
        """ln E for a fail: half the stake on all modes together, half on each mode alone."""
        alone = [s.e_process for s in self.strata.values() if s.e_process is not None]
        return mixed_log_fail(self.e_process, alone, len(Mode))


class LatencyGuardrail(Guardrail[LatencyConfig, LatencyState]):
    """The guardrail over the duration of whole requests."""

    name: ClassVar[str] = "latency"
    config_type: ClassVar[type[GuardrailConfig]] = LatencyConfig
    state_type: ClassVar[type[LatencyState]] = LatencyState
    # It takes time to be certain of a small difference; most others find what they look
    # for with much less alpha.
    alpha_parts: ClassVar[int] = 4

    slower: ClassVar[str] = "slower"
    note: ClassVar[str] = " (failed requests count as slow)"

    @property
    def label(self) -> str:
        return f"{self.parameters.percentile_name} latency"

    @property
    def subject(self) -> str:
        """The figure in a sentence."""
        return self.parameters.percentile_name

    @property
    def threshold(self) -> float:
        return self.parameters.ratio

    def counts(self, counters: Counters) -> dict[str, CountsByArm]:
        """The counts that this guardrail judges, by mode."""
        return counters.requests

    def initial_state(self, baseline: Mapping[str, Counts]) -> LatencyState:  # noqa: ARG002 - part of the interface
        return LatencyState(ladder=RatioLadder.initial(len(FAIL_ODDS), len(PASS_ODDS)))

    def update(self, state: LatencyState, measurement: Measurement) -> LatencyState:
        """A stratum without requests of one arm does not change: no data is no evidence."""
        fail_factors, pass_factors = [0.0] * len(FAIL_ODDS), [0.0] * len(PASS_ODDS)
        strata, judged = dict(state.strata), dict[str, JudgedCounts]()
        for mode, new in self.counts(measurement.counters).items():
            old = strata.get(mode) or LatencyStratum.initial(self.parameters.edges)
            tau = old.threshold(self.parameters) if measurement.settled else None
            # τ moves only now, for the next run.
            strata[mode] = old.with_arrivals(new, self.parameters.baseline_samples)
            if not isinstance(tau, int):
                continue
            slow = tau + edge_distance(self.parameters.ratio)
            marks = new.canary.slower_than(slow), new.stable.slower_than(tau)
            trials = self._trials(new, marks, canary_only=measurement.canary_only)
            if trials is None:
                continue
            judged[mode] = JudgedCounts(tau, new)
            factors = [trials.log_factor(odds) for odds in FAIL_ODDS]
            alone = (old.e_process or state.e_process).update(
                factors, [0.0] * len(PASS_ODDS), self.bounds
            )
            strata[mode] = strata[mode].with_judged(new, *marks, alone)
            fail_factors = [x + y for x, y in zip(fail_factors, factors, strict=True)]
            if not measurement.canary_only:
                inverse = [trials.log_factor(1 / odds) for odds in PASS_ODDS]
                pass_factors = [x + y for x, y in zip(pass_factors, inverse, strict=True)]
        if not judged:
            return LatencyState(state.e_process, strata, state.ladder)
        ladder = state.ladder
        if ladder is not None and not measurement.canary_only:
            ladder = ladder.update(judged, FAIL_ODDS, PASS_ODDS, self.bounds, len(Mode))
        process = state.e_process.update(fail_factors, pass_factors, self.bounds)
        return LatencyState(process, strata, ladder)

    def assess(self, state: LatencyState) -> Verdict:
        log_fail = state.log_fail()
        outcome, text = self.bounds.assess(state.e_process, log_fail)
        held = None
        if outcome is VerdictOutcome.PASS and (reason := self._reason_to_hold(state)):
            held = reason
            outcome, text = VerdictOutcome.INCONCLUSIVE, f"{text} over all modes, but {reason}"
        # The fail side counts over the whole rollout, the pass side over the step.
        totals = {
            mode: stratum.rollout if outcome is VerdictOutcome.FAIL else stratum.step
            for mode, stratum in sorted(state.strata.items())
        }
        canary, stable = (
            sum(getattr(counts, arm) for counts in totals.values()) for arm in ("canary", "stable")
        )
        texts = [self._stratum_text(mode, state.strata[mode], totals[mode]) for mode in totals]
        steps = [stratum.step for stratum in state.strata.values()]
        p95 = self._percentiles(state)
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join(
                [
                    f"{outcome}: {text} after {canary} canary and {stable} stable requests",
                    *filter(None, texts),
                ]
            ),
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=log_fail,
            log_pass=state.e_process.log_pass(),
            canary=sum(counts.canary for counts in steps),
            stable=sum(counts.stable for counts in steps),
            ratio=_ratio(p95),
            details={
                "p95_seconds": p95,
                "strata": [self._details(mode, state.strata[mode]) for mode in totals],
            },
            label=self.label,
            comparison=self._compare(state, self._slow_stratum(state, log_fail)),
            held=held,
        )

    def _compare(self, state: LatencyState, slow_mode: str | None) -> Comparison:
        """The percentiles of this step in words, or why there are none yet.

        `slow_mode` is compared if there is one, else the mode with the most evidence.
        """
        p95 = self._percentiles(state) if slow_mode is None else self._of(state, slow_mode)
        canary, stable, ratio = p95["canary"], p95["stable"], _ratio(p95)
        if canary is None or stable is None:
            short = text = self._missing(state)
        else:
            subject = f"{self.subject} of {slow_mode} requests" if slow_mode else self.subject
            short, text = compare_seconds(subject, canary, stable, self.parameters.ratio)
        return Comparison(
            text=text,
            short=short,
            value_unit=ValueUnit.SECONDS,
            kind=DifferenceKind.RATIO,
            limit=self.threshold,
            stable=stable,
            canary=canary,
            difference=ratio,
            interval=self._interval(state),
            possessive=ratio is not None,
            suspicion="looks too slow",
            fault="it was too slow",
        )

    def _slow_stratum(self, state: LatencyState, log_fail: float) -> str | None:
        """The mode that the case against the canary is about, if the one with the most evidence
        in this step complies."""
        ratio = _ratio(self._percentiles(state))
        if log_fail < LEANING * self.bounds.log_fail or (ratio or 0.0) > self.threshold:
            return None
        beyond = {
            mode: stratum.e_process.log_fail()
            for mode, stratum in sorted(state.strata.items())
            if stratum.e_process and (_ratio(self._of(state, mode)) or 0.0) > self.threshold
        }
        return max(beyond, key=beyond.__getitem__, default=None)

    def _of(self, state: LatencyState, mode: str) -> dict[str, float | None]:
        """The percentiles of one mode in this step."""
        judged = state.strata[mode].judged
        return {
            "canary": self._percentile(judged.canary),
            "stable": self._percentile(judged.stable),
        }

    def _interval(self, state: LatencyState) -> RatioInterval | None:
        """The ratios that are not rejected."""
        steps = [stratum.step for stratum in state.strata.values()]
        canary_only = any(step.canary and not step.stable for step in steps)
        if state.ladder is None or canary_only:
            return None
        return state.ladder.interval(
            self.bounds,
            limit=edge_distance(self.parameters.ratio),
            failed=state.log_fail() >= self.bounds.log_fail,
            passed=state.e_process.peak >= self.bounds.log_pass,
            held=self._reason_to_hold(state) is not None,
        )

    def _missing(self, state: LatencyState) -> str:
        """Why no percentiles can be compared, as a clause."""
        counted = [stratum for stratum in state.strata.values() if sum(stratum.window)]
        main = max(counted, key=lambda stratum: sum(stratum.window), default=None)
        longest = format_value_seconds(self.parameters.edges[-1])
        gap = ThresholdGap.BASELINE if main is None else main.threshold(self.parameters)
        if gap is ThresholdGap.BASELINE:
            needed, known = (
                self.parameters.baseline_samples,
                0.0 if main is None else sum(main.window),
            )
            return f"stable's {self.subject} is not known yet ({known:.0f} of {needed} requests)"
        if gap is ThresholdGap.SATURATED:
            return (
                f"stable's {self.subject} is too close to the longest duration that is counted, "
                f"{longest}"
            )
        if main is not None and main.step.canary:
            share = format_share(1 - self.parameters.quantile)
            return (
                f"more than {share} of the canary's requests failed or took longer than {longest}"
            )
        return f"its {self.subject} is not known yet (no request has been judged in this step)"

    def _trials(
        self, new: CountsByArm, marks: tuple[int, int], *, canary_only: bool
    ) -> _BinomialTrials | None:
        """The bet on one stratum in one run; None where there is nothing to bet on."""
        canary, stable = new.canary.total, new.stable.total
        if not canary:
            return None
        if canary_only:
            return _BinomialTrials(marks[0], canary, min(1.0, 2 * (1 - self.parameters.quantile)))
        share = canary / (canary + stable)
        return _BinomialTrials(marks[0], sum(marks), share) if stable else None

    def _reason_to_hold(self, state: LatencyState) -> str | None:
        """Why a pass over all modes is held back; None if it is not."""
        strata = sorted(state.strata.items())
        slower = [mode for mode, stratum in strata if stratum.step.canary_is_conspicuous]
        if slower:
            return f"the canary is conspicuously slow in {' and '.join(slower)}"
        # Enough requests to move the percentile by themselves.
        enough = (1 - self.parameters.quantile) * sum(s.arrivals for _, s in strata)
        open_modes = [mode for mode, s in strata if s.arrivals > enough and not s.step.canary]
        return f"{' and '.join(open_modes)} cannot be judged yet" if open_modes else None

    def _percentiles(self, state: LatencyState) -> dict[str, float | None]:
        """P95s of the mode with the most evidence in this step; None where there is none."""
        strata = [stratum for _, stratum in sorted(state.strata.items())]
        main = max(strata, key=lambda s: min(s.step.canary, s.step.stable), default=None)
        return {
            "canary": self._percentile(main.judged.canary) if main else None,
            "stable": self._percentile(main.judged.stable) if main else None,
        }

    def _percentile(self, counts: Counts) -> float | None:
        return percentile(counts, self.parameters.edges, self.parameters.quantile)

    def _details(self, mode: str, stratum: LatencyStratum) -> dict[str, object]:
        """One mode as JSON: what was judged in this step, and the next run's τ."""
        tau, step, judged = stratum.threshold(self.parameters), stratum.step, stratum.judged
        return {
            "mode": mode,
            "tau_seconds": self.parameters.edges[tau] if isinstance(tau, int) else None,
            "samples": {"canary": step.canary, "stable": step.stable},
            "slow": {"canary": step.canary_marked, "stable": step.stable_marked},
            "faults": {"canary": judged.canary.faults, "stable": judged.stable.faults},
            "p95_seconds": {
                "canary": self._percentile(judged.canary),
                "stable": self._percentile(judged.stable),
            },
        }

    def _stratum_text(self, mode: str, stratum: LatencyStratum, totals: SlowCounts) -> str:
        """What one mode showed, or what it waits for; empty if it had no requests."""
        edges, total = self.parameters.edges, sum(stratum.window)
        if not total and not totals.canary:
            return ""
        tau = stratum.threshold(self.parameters)
        if tau is ThresholdGap.BASELINE:
            needed = self.parameters.baseline_samples
            return f"{mode}: τ needs {needed} stable requests, {total:.0f} so far"
        if tau is ThresholdGap.SATURATED:
            name, top = self.parameters.percentile_name, format_seconds(edges[-1])
            return f"{mode}: stable's {name} is too close to the top bucket, {top}"
        assert isinstance(tau, int)
        limit = format_seconds(edges[tau + edge_distance(self.parameters.ratio)])
        return (
            f"{mode}: canary: {format_count(totals.canary_marked, 'request')} "
            f"{self.slower} than {self.parameters.ratio:g}·τ = {limit}, "
            f"stable: {format_count(totals.stable_marked, 'request')} "
            f"{self.slower} than τ = {format_seconds(edges[tau])}{self.note}"
        )


@dataclass(frozen=True, slots=True)
class _BinomialTrials:
    """`marked` trials of the canary among `trials`, each expected with probability `share`."""

    marked: int
    trials: int
    share: float

    def log_factor(self, odds: float) -> float:
        return log_binomial_factor(self.share, self.marked, self.trials, odds)


def _ratio(p95: Mapping[str, float | None]) -> float | None:
    canary, stable = p95["canary"], p95["stable"]
    return None if canary is None or stable is None else canary / stable
