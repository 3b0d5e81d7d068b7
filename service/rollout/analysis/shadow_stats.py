"""What a shadow step has seen, and its verdict. Pure.

The canary runs on copies of requests that stable answered, so that both have the very
same work and nothing is at stake: no caller waits for a copy. The verdict keeps out a
version that is broken (it fails, it is many times slower, it answers something else);
it is no statistical test, and spends none of alpha. Whether the canary is good enough is
for the guardrails to say, once it has callers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.rollout.analysis.counters import Counts, CountsByArm, percentile
from service.rollout.analysis.verdict import Verdict, VerdictOutcome
from service.rollout.plan.rollout_plan import PlanStep

NAME = "shadow"

MAX_FAULTS = 3
"""So many failed copies are a fail. Fewer are no pass: a person decides."""

FAIR_PAIRS = 100
"""Copies of a mode before its times are compared, or the step's samples if they are fewer."""

QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class ShadowStats:
    """Copies so far. `modes`: seconds in the engine of both versions, counted in `edges`,
    of the copies that were the same work for both; `cosine_sum` is over all `answered`."""

    edges: tuple[float, ...]
    modes: dict[str, CountsByArm] = field(default_factory=dict)
    answered: int = 0
    faults: int = 0
    dropped: int = 0
    cosine_sum: float = 0.0

    @property
    def total(self) -> int:
        """Copies that ran, well or not."""
        return self.answered + self.faults

    @property
    def agreement(self) -> float | None:
        """Mean cosine of the two predictions."""
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


def copy_times(
    edges: Sequence[float], mode: str, stable: float, canary: float
) -> dict[str, CountsByArm]:
    """The times of one fair copy, in seconds."""
    return {mode: CountsByArm(_count(edges, stable), _count(edges, canary))}


def assess_shadow(seen: ShadowStats, step: PlanStep) -> Verdict:
    """The verdict of a shadow step."""
    outcome, message = _judged(seen, step)
    modes = [arms for arms in seen.modes.values() if arms.canary.total]
    most = max(modes, key=lambda arms: arms.canary.total, default=None)
    return Verdict(
        name=NAME,
        outcome=outcome,
        message=f"{outcome}: {message}",
        threshold=step.max_inference_ratio,
        fail_bound=0.0,
        pass_bound=0.0,
        canary=seen.total,
        stable=seen.total,
        ratio=None if most is None else _ratio(most, seen.edges),
        details=seen.to_json(),
    )


def _judged(seen: ShadowStats, step: PlanStep) -> tuple[VerdictOutcome, str]:
    if seen.faults >= MAX_FAULTS:
        return VerdictOutcome.FAIL, f"{seen.faults} of {seen.total} copies failed"
    if seen.total < step.min_samples:
        return VerdictOutcome.INCONCLUSIVE, f"{seen.total} copies ran, {step.min_samples} wanted"
    agreement = seen.agreement or 0.0
    agreed = f"mean cosine with stable's predictions {agreement:.4f}"
    if step.min_agreement is not None and agreement < step.min_agreement:
        return VerdictOutcome.FAIL, f"{agreed}, {step.min_agreement:g} wanted"
    outcome, times = _timed(seen, step)
    if outcome is not VerdictOutcome.PASS:
        return outcome, times
    if seen.faults:
        said = f"{seen.faults} of {seen.total} copies failed: a person decides"
        return VerdictOutcome.INCONCLUSIVE, said
    return outcome, f"{seen.total} copies ran, none failed; {agreed}; {times}"


def _timed(seen: ShadowStats, step: PlanStep) -> tuple[VerdictOutcome, str]:
    """What the canary's times in the engine say, mode by mode."""
    fair = min(FAIR_PAIRS, step.min_samples)
    ratios: list[str] = []
    for mode, arms in sorted(seen.modes.items()):
        if arms.canary.total < fair:
            continue
        ratio = _ratio(arms, seen.edges)
        if ratio is None or ratio > step.max_inference_ratio:
            said = "beyond the top bucket" if ratio is None else f"{ratio:.2f} times stable's"
            limit = f"{step.max_inference_ratio:g} at most"
            return VerdictOutcome.FAIL, f"{mode}: P95 in the engine {said}, {limit}"
        ratios.append(f"{mode}: P95 in the engine {ratio:.2f} times stable's")
    if not ratios:
        return (
            VerdictOutcome.INCONCLUSIVE,
            f"no mode has {fair} copies that were the same work for both",
        )
    return VerdictOutcome.PASS, "; ".join(ratios)


def _ratio(arms: CountsByArm, edges: Sequence[float]) -> float | None:
    """Canary's P95 over stable's; None where there is none or it is over the top edge."""
    canary = percentile(arms.canary, edges, QUANTILE)
    stable = percentile(arms.stable, edges, QUANTILE)
    return None if canary is None or stable is None else canary / stable


def _count(edges: Sequence[float], seconds: float) -> Counts:
    at = next((i for i, edge in enumerate(edges) if seconds <= edge), len(edges))
    return Counts(tuple(int(i == at) for i in range(len(edges) + 1)))
