"""The interference guardrail: stable's P95 during the rollout against its P95 before.

Two variants share a device, so a slow canary can slow stable down. A comparison of the two
then looks fine: the canary hides itself. So stable is also compared with its own past. τ is
the bucket edge at its percentile in the ten to twenty minutes before the canary's first
request (see `service.rollout.analysis.baseline`), fixed for the rollout. A stable request
is marked when it takes longer than ratio·τ or fails. While stable's percentile is within
that, a request is marked with a probability of at most p = 1 - quantile, given everything
before, and E[r^a] ≤ (1 + p(r - 1))^n for `a` marks among n: the binomial bet of
`latency_ceiling`.

Before and after is not a random assignment: the load may have changed for reasons of its
own, and then the null hypothesis is false although the canary is not to blame. No test can
tell the two apart from counts alone. Hence the caution:

- the ratio is large, three by default: a load that swings by a factor of two either way
  within minutes does not reach it;
- the slowdown must persist: the clip ensures that no fewer than eight runs decide, two
  minutes at a run every 15 s, while its share of alpha is below 1/128 (0.00075 by default);
- a rollback harms nobody: whether the canary or the load slows stable threefold, it is the
  wrong time for a rollout. The message says that it may be either;
- it can only fail. No step waits for it, and without a baseline (a service that has just
  started, or little traffic) it stays inconclusive.

It is judged per request mode, after warm-up and settling, and not at 100 %, where stable
has no requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from service.rollout.analysis.bucket_edges import EDGE_GROWTH, edge_distance, ratio_problem
from service.rollout.analysis.comparison import Comparison, DifferenceKind, ValueUnit
from service.rollout.analysis.counters import Counts, percentile, percentile_bucket
from service.rollout.analysis.e_process import EProcess, log_binomial_factor
from service.rollout.analysis.formatting import compare_seconds, format_seconds
from service.rollout.analysis.guardrails.config import GuardrailConfig, Number
from service.rollout.analysis.guardrails.guardrail import Guardrail, Measurement
from service.rollout.analysis.verdict import Verdict, VerdictOutcome

FAIL_ODDS = (1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)

MIN_EVALUATIONS = 8
"""How many runs must agree before it fails."""


class InterferenceConfig(GuardrailConfig):
    """Stable's P95 during the rollout over its P95 before."""

    required: Literal[False] = Field(default=False, description="Always false: it can only fail.")
    ratio: Number = Field(
        EDGE_GROWTH**12,
        gt=1,
        le=20,
        description="The highest allowed ratio of stable's P95 to its P95 before the rollout.",
    )

    @field_validator("ratio")
    @classmethod
    def _check_edges(cls, ratio: float) -> float:
        if (problem := ratio_problem(ratio)) is not None:
            raise ValueError(problem)
        return ratio


@dataclass(frozen=True, slots=True)
class StableCounts:
    """Stable's requests of one mode: in the rollout, in this step, and how many of the
    rollout's were marked."""

    rollout: Counts
    step: Counts
    marked: int = 0


@dataclass(frozen=True, slots=True)
class InterferenceState:
    """The evidence on all modes together, and what was counted in each.

    `baseline`: stable's requests before the rollout, by mode; empty if they were not counted.
    """

    baseline: Annotated[dict[str, Counts], Field(alias="before")] = field(default_factory=dict)
    e_process: Annotated[EProcess, Field(alias="wager")] = field(
        default_factory=lambda: EProcess.initial(len(FAIL_ODDS), 1)
    )
    modes: dict[str, StableCounts] = field(default_factory=dict)

    def next_step(self) -> InterferenceState:
        modes = {
            mode: replace(counts, step=Counts((0,) * len(counts.step.durations)))
            for mode, counts in self.modes.items()
        }
        return InterferenceState(self.baseline, self.e_process.next_step(), modes)


class InterferenceGuardrail(Guardrail[InterferenceConfig, InterferenceState]):
    """The guardrail over stable's own latency."""

    name: ClassVar[str] = "interference"
    config_type: ClassVar[type[GuardrailConfig]] = InterferenceConfig
    state_type: ClassVar[type[InterferenceState]] = InterferenceState
    can_pass: ClassVar[bool] = False

    @property
    def label(self) -> str:
        return f"Stable's own {self.parameters.percentile_name}"

    @property
    def threshold(self) -> float:
        return self.config.ratio

    def initial_state(self, baseline: Mapping[str, Counts]) -> InterferenceState:
        return InterferenceState(dict(baseline))

    def update(self, state: InterferenceState, measurement: Measurement) -> InterferenceState:
        """A mode without a baseline, or without stable's requests, changes nothing."""
        if not measurement.settled or measurement.canary_only:
            return state
        fail_factors, modes, judged = [0.0] * len(FAIL_ODDS), dict(state.modes), False
        for mode, new in measurement.counters.requests.items():
            tau, total = self.tau(state, mode), new.stable.total
            if tau is None or not total:
                continue
            judged = True
            marked = new.stable.slower_than(tau + edge_distance(self.config.ratio))
            zero = Counts.zero(self.parameters.edges)
            old = modes.get(mode) or StableCounts(zero, zero)
            modes[mode] = StableCounts(
                old.rollout.plus(new.stable), old.step.plus(new.stable), old.marked + marked
            )
            allowed = 1 - self.parameters.quantile
            fail_factors = [
                x + log_binomial_factor(allowed, marked, total, odds)
                for x, odds in zip(fail_factors, FAIL_ODDS, strict=True)
            ]
        if not judged:
            return state
        process = state.e_process.update(
            fail_factors, [0.0], self.bounds, min_evaluations=MIN_EVALUATIONS
        )
        return InterferenceState(state.baseline, process, modes)

    def tau(self, state: InterferenceState, mode: str) -> int | None:
        """The number of the edge at stable's percentile before the rollout.

        None without enough requests, or where ratio·τ lies beyond the last edge.
        """
        baseline = state.baseline.get(mode)
        if baseline is None or baseline.total < self.parameters.baseline_samples:
            return None
        with_faults = [*baseline.durations[:-1], baseline.durations[-1] + baseline.faults]
        tau = percentile_bucket(with_faults, self.parameters.quantile)
        last = tau + edge_distance(self.config.ratio)
        return tau if last < len(self.parameters.edges) else None

    def assess(self, state: InterferenceState) -> Verdict:
        log_fail = state.e_process.log_fail()
        bound = f"ln(1/{self.bounds.fail:.2g}) = {self.bounds.log_fail:.2f}"
        if log_fail >= self.bounds.log_fail:
            outcome = VerdictOutcome.FAIL
            text = f"ln E = {log_fail:.2f} ≥ {bound}: the canary or a change of load slows stable"
        else:
            outcome = VerdictOutcome.INCONCLUSIVE
            text = f"ln E = {log_fail:.2f} < {bound} for a fail; this guardrail can only fail"
        texts = [self._mode_text(state, mode) for mode in sorted(state.modes)]
        main = max(state.modes, key=lambda mode: state.modes[mode].step.total, default=None)
        now = None if main is None else self._percentile(state.modes[main].step)
        before = None if main is None else self._percentile(state.baseline[main])
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join([f"{outcome}: {text}", *(texts or [_no_comparison(state)])]),
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=log_fail,
            stable=sum(counts.step.total for counts in state.modes.values()),
            ratio=None if now is None or before is None else now / before,
            details={"p95_seconds": {"stable": now, "before": before}},
            label=self.label,
            comparison=self._compare(now, before),
            can_pass=self.can_pass,
        )

    def _compare(self, now: float | None, before: float | None) -> Comparison:
        """Stable's percentile now and before the rollout, in words."""
        name = f"stable's own {self.parameters.percentile_name}"
        ratio = None if now is None or before is None else now / before
        short = text = f"{name} cannot be compared yet with its value before the rollout"
        if now is not None and before is not None:
            short, text = compare_seconds(
                name, now, before, self.config.ratio, to="its value before the rollout"
            )
        return Comparison(
            text=text,
            short=short,
            value_unit=ValueUnit.SECONDS,
            kind=DifferenceKind.RATIO,
            limit=self.config.ratio,
            stable=now,
            before=before,
            difference=ratio,
            possessive=False,
            suspicion="seems to slow stable down",
            fault="stable became too slow",
        )

    def _percentile(self, counts: Counts) -> float | None:
        return percentile(counts, self.parameters.edges, self.parameters.quantile)

    def _mode_text(self, state: InterferenceState, mode: str) -> str:
        tau, counts = self.tau(state, mode), state.modes[mode]
        assert tau is not None
        limit = format_seconds(self.parameters.edges[tau + edge_distance(self.config.ratio)])
        return (
            f"{mode}: {counts.marked} of {counts.rollout.total} stable requests failed or were "
            f"slower than {self.config.ratio:.3g}·τ = {limit}, where τ is their "
            f"{self.parameters.percentile_name} before the rollout"
        )


def _no_comparison(state: InterferenceState) -> str:
    counted = sum(counts.total for counts in state.baseline.values())
    return f"no comparison yet, {counted} stable requests were counted before the rollout"
