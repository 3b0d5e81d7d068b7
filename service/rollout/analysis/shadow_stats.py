"""The statistics of a shadow step, and its verdict. Pure.

The canary runs on copies of requests that stable has answered. Both versions have exactly
the same work, and nothing is at stake because no caller waits for a copy. The verdict keeps
out a version that is broken: one that fails, is many times slower, or predicts something
else. It is not a statistical test and spends no alpha. Whether the canary is good enough is
for the guardrails to decide, once it has callers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.rollout.analysis.comparison import Comparison, DifferenceKind, ValueUnit
from service.rollout.analysis.counters import Counts, CountsByArm, percentile
from service.rollout.analysis.formatting import compare_seconds, format_count
from service.rollout.analysis.verdict import Verdict, VerdictOutcome

NAME = "shadow"

MAX_FAULTS = 3
"""This many failed copies are a fail. With fewer it does not pass: a person decides."""

FAIR_PAIRS = 100
"""Copies of a mode before its times are compared; fewer if the step's samples are fewer."""

QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    """What a plan demands of a shadow step: `PlanStep` has the fields' descriptions."""

    min_samples: int
    min_agreement: float | None
    max_inference_ratio: float


@dataclass(frozen=True, slots=True)
class ShadowStats:
    """The copies so far.

    `modes` has both versions' seconds in the engine, counted in buckets with `edges`, for
    the copies that were the same work for both. `cosine_sum` is over all `answered`.
    """

    edges: tuple[float, ...]
    modes: dict[str, CountsByArm] = field(default_factory=dict)
    answered: int = 0
    faults: int = 0
    dropped: int = 0
    cosine_sum: float = 0.0

    @property
    def total(self) -> int:
        """The copies that ran, with or without success."""
        return self.answered + self.faults

    @property
    def agreement(self) -> float | None:
        """The mean cosine of the two versions' predictions."""
        return self.cosine_sum / self.answered if self.answered else None

    def plus(self, new: ShadowStats) -> ShadowStats:
        return ShadowStats(
            edges=new.edges,
            modes={
                **self.modes,
                **{
                    mode: arms.plus(self.modes[mode]) if mode in self.modes else arms
                    for mode, arms in new.modes.items()
                },
            },
            answered=self.answered + new.answered,
            faults=self.faults + new.faults,
            dropped=self.dropped + new.dropped,
            cosine_sum=self.cosine_sum + new.cosine_sum,
        )

    def since(self, before: ShadowStats) -> ShadowStats:
        """What cumulative statistics with the same edges have gained."""
        return ShadowStats(
            edges=self.edges,
            modes={
                mode: arms.since(before.modes[mode]) if mode in before.modes else arms
                for mode, arms in self.modes.items()
            },
            answered=self.answered - before.answered,
            faults=self.faults - before.faults,
            dropped=self.dropped - before.dropped,
            cosine_sum=self.cosine_sum - before.cosine_sum,
        )

    def to_json(self) -> dict[str, object]:
        """As in the status."""
        return {
            "copies": {
                "answered": self.answered,
                "failed": self.faults,
                "dropped": self.dropped,
            },
            "agreement": self.agreement,
            "inference": [
                {
                    "mode": mode,
                    "pairs": arms.canary.total,
                    "p95_seconds": {
                        "canary": percentile(arms.canary, self.edges, QUANTILE),
                        "stable": percentile(arms.stable, self.edges, QUANTILE),
                    },
                    "ratio": _ratio(arms, self.edges),
                }
                for mode, arms in sorted(self.modes.items())
            ],
        }


def count_copy(
    edges: Sequence[float], mode: str, stable: float, canary: float
) -> dict[str, CountsByArm]:
    """The counts of one copy that was the same work for both versions, from seconds."""
    return {mode: CountsByArm(_count(edges, stable), _count(edges, canary))}


def assess_shadow(stats: ShadowStats, limits: ShadowLimits) -> Verdict:
    """The verdict of a shadow step."""
    outcome, message = _assess(stats, limits)
    modes = [arms for arms in stats.modes.values() if arms.canary.total]
    most = max(modes, key=lambda arms: arms.canary.total, default=None)
    return Verdict(
        name=NAME,
        outcome=outcome,
        message=f"{outcome}: {message}",
        threshold=limits.max_inference_ratio,
        fail_bound=0.0,
        pass_bound=0.0,
        canary=stats.total,
        stable=stats.total,
        ratio=None if most is None else _ratio(most, stats.edges),
        details=stats.to_json(),
        label="Shadow run",
        comparison=_compare(stats, limits, most),
        # With a failed copy it cannot pass.
        shares=(
            0.0 if stats.faults else min(1.0, stats.total / limits.min_samples),
            stats.faults / MAX_FAULTS,
        ),
    )


def _compare(stats: ShadowStats, limits: ShadowLimits, most: CountsByArm | None) -> Comparison:
    """Both versions' P95 in the engine on the same requests, in words."""
    canary = None if most is None else percentile(most.canary, stats.edges, QUANTILE)
    stable = None if most is None else percentile(most.stable, stats.edges, QUANTILE)
    copies = f"{format_count(stats.total, 'copy', 'copies')} ran"
    if stats.dropped:
        copies += f", {stats.dropped} were dropped"
    short = text = f"{copies}, none of them with the same work for both versions"
    if not stats.total:
        dropped = f" ({stats.dropped} were dropped)" if stats.dropped else ""
        short = text = f"no copy of a request has run yet{dropped}"
    ratio = None if canary is None or stable is None else canary / stable
    suspicion, fault, possessive = "looks too slow", "it was too slow", False
    if stats.faults:
        short = text = f"{stats.faults} of {stats.total} copies of requests failed"
        suspicion, fault = "looks faulty", "it failed"
    elif _disagrees(stats, limits):
        short = text = (
            f"the mean cosine with stable's predictions is {stats.agreement or 0.0:.3f} "
            f"(at least {limits.min_agreement:g} is required)"
        )
        suspicion, fault = "predicts something else", "it predicts something else than stable"
    elif canary is not None and stable is not None:
        short, text = compare_seconds(
            "P95 in the engine",
            canary,
            stable,
            limits.max_inference_ratio,
            scope=" on the same requests",
            remark=copies,
        )
        possessive = True
    return Comparison(
        text=text,
        short=short,
        value_unit=ValueUnit.SECONDS,
        kind=DifferenceKind.RATIO,
        limit=limits.max_inference_ratio,
        stable=stable,
        canary=canary,
        difference=ratio,
        possessive=possessive,
        suspicion=suspicion,
        fault=fault,
    )


def _disagrees(stats: ShadowStats, limits: ShadowLimits) -> bool:
    """Whether the predictions, once there are enough, agree too little with stable's."""
    agreement, least = stats.agreement, limits.min_agreement
    enough = stats.total >= limits.min_samples
    return enough and least is not None and agreement is not None and agreement < least


def _assess(stats: ShadowStats, limits: ShadowLimits) -> tuple[VerdictOutcome, str]:
    if stats.faults >= MAX_FAULTS:
        return VerdictOutcome.FAIL, f"{stats.faults} of {stats.total} copies failed"
    if stats.total < limits.min_samples:
        text = f"{stats.total} of {limits.min_samples} required copies have run since the warm-up"
        return VerdictOutcome.INCONCLUSIVE, text
    agreement = stats.agreement or 0.0
    cosine = f"mean cosine with stable's predictions {agreement:.4f}"
    if limits.min_agreement is not None and agreement < limits.min_agreement:
        return VerdictOutcome.FAIL, f"{cosine}, below the minimum of {limits.min_agreement:g}"
    outcome, times = _assess_times(stats, limits)
    if outcome is not VerdictOutcome.PASS:
        return outcome, times
    if stats.faults:
        text = f"{stats.faults} of {stats.total} copies failed: a person must decide"
        return VerdictOutcome.INCONCLUSIVE, text
    return outcome, f"{stats.total} copies ran and none failed; {cosine}; {times}"


def _assess_times(stats: ShadowStats, limits: ShadowLimits) -> tuple[VerdictOutcome, str]:
    """The outcome of the canary's times in the engine, mode by mode."""
    enough = min(FAIR_PAIRS, limits.min_samples)
    texts: list[str] = []
    for mode, arms in sorted(stats.modes.items()):
        if arms.canary.total < enough:
            continue
        ratio = _ratio(arms, stats.edges)
        if ratio is None or ratio > limits.max_inference_ratio:
            what = "beyond the top bucket" if ratio is None else f"{ratio:.2f} times stable's"
            limit = f"the limit is {limits.max_inference_ratio:g} times"
            return VerdictOutcome.FAIL, f"{mode}: P95 in the engine is {what}, {limit}"
        texts.append(f"{mode}: P95 in the engine is {ratio:.2f} times stable's")
    if not texts:
        text = f"no mode has {enough} copies with the same work for both versions"
        return VerdictOutcome.INCONCLUSIVE, text
    return VerdictOutcome.PASS, "; ".join(texts)


def _ratio(arms: CountsByArm, edges: Sequence[float]) -> float | None:
    """The canary's P95 over stable's; None without data or above the top edge."""
    canary = percentile(arms.canary, edges, QUANTILE)
    stable = percentile(arms.stable, edges, QUANTILE)
    return None if canary is None or stable is None else canary / stable


def _count(edges: Sequence[float], seconds: float) -> Counts:
    buckets = [0] * (len(edges) + 1)
    buckets[bisect_left(edges, seconds)] = 1
    return Counts(tuple(buckets))
