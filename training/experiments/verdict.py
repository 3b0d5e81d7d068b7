"""Verdicts on a paired difference: pure functions of its interval."""

from __future__ import annotations

from dataclasses import dataclass

from service.evaluation_report import Estimate

HIT_5_GAIN = 0.005
HIT_10_GAIN = 0.015
"""The gains that hard negatives need to be kept, as shares: 0.5 and 1.5 points."""


@dataclass(frozen=True)
class ExperimentVerdict:
    """A verdict in one word, and the reason with its numbers."""

    word: str
    reason: str


def plateau(hit_at_5: Estimate, margin: float) -> ExperimentVerdict:
    """`plateau` if the whole interval lies within ±`margin`: the change has no effect.

    A non-significant difference does not show that there is none; an interval within the margin
    does (two one-sided tests at 97.5 %, Schuirmann 1987).
    """
    summary = f"Hit@5 differs by {_points(hit_at_5)} points"
    if -margin <= hit_at_5.low and hit_at_5.high <= margin:
        return ExperimentVerdict(
            "plateau", f"{summary}: within ±{100 * margin:.1f}, so the change has no effect"
        )
    if hit_at_5.low > 0 or hit_at_5.high < 0:
        return ExperimentVerdict("change", f"{summary}: the interval excludes 0")
    return ExperimentVerdict(
        "undecided",
        f"{summary}: the interval includes 0 and exceeds ±{100 * margin:.1f}; use more positions",
    )


def probe(hit_at_5: Estimate, hit_at_10: Estimate) -> ExperimentVerdict:
    """`keep` if both intervals reach their required gain, `drop` if one lies below it."""
    summary = (
        f"Hit@5 gains {_points(hit_at_5)} of the {100 * HIT_5_GAIN:.1f} points required, "
        f"Hit@10 {_points(hit_at_10)} of {100 * HIT_10_GAIN:.1f}"
    )
    if hit_at_5.low >= HIT_5_GAIN and hit_at_10.low >= HIT_10_GAIN:
        return ExperimentVerdict("keep", f"{summary}: both intervals reach it")
    if hit_at_5.high < HIT_5_GAIN or hit_at_10.high < HIT_10_GAIN:
        return ExperimentVerdict("drop", f"{summary}: an interval lies below it")
    return ExperimentVerdict(
        "undecided", f"{summary}: an interval includes its required gain; not kept"
    )


def _points(figure: Estimate) -> str:
    value, low, high = (100 * part + 0.0 for part in (figure.value, figure.low, figure.high))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
