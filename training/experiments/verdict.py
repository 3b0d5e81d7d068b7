"""What a paired difference allows to be said: pure functions of its interval."""

from __future__ import annotations

from dataclasses import dataclass

from service.evaluation_report import Estimate

HIT_5_GAIN = 0.005
HIT_10_GAIN = 0.015
"""What hard negatives must gain to be kept, as shares: 0.5 and 1.5 points."""


@dataclass(frozen=True)
class ExperimentVerdict:
    """One word, and the sentence with the figures that it rests on."""

    word: str
    reason: str


def plateau(hit_at_5: Estimate, margin: float) -> ExperimentVerdict:
    """Does the change do nothing? Only an interval within ±`margin` says so.

    A test that finds no difference has not shown that there is none; the whole
    interval within the margin has (Schuirmann 1987, at 97.5 % a side).
    """
    told = f"Hit@5 differs by {_points(hit_at_5)} points"
    if -margin <= hit_at_5.low and hit_at_5.high <= margin:
        return ExperimentVerdict(
            "plateau", f"{told}: within ±{100 * margin:.1f}, the change does nothing"
        )
    if hit_at_5.low > 0 or hit_at_5.high < 0:
        return ExperimentVerdict("change", f"{told}: 0 is not in the interval")
    return ExperimentVerdict(
        "undecided", f"{told}: neither without 0 nor within ±{100 * margin:.1f}; more positions"
    )


def probe(hit_at_5: Estimate, hit_at_10: Estimate) -> ExperimentVerdict:
    """Keep only what gains both amounts for sure; drop what surely misses one."""
    told = (
        f"Hit@5 gains {_points(hit_at_5)} of the {100 * HIT_5_GAIN:.1f} points it must, "
        f"Hit@10 {_points(hit_at_10)} of {100 * HIT_10_GAIN:.1f}"
    )
    if hit_at_5.low >= HIT_5_GAIN and hit_at_10.low >= HIT_10_GAIN:
        return ExperimentVerdict("keep", f"{told}: both intervals lie at or above")
    if hit_at_5.high < HIT_5_GAIN or hit_at_10.high < HIT_10_GAIN:
        return ExperimentVerdict("drop", f"{told}: an interval lies below")
    return ExperimentVerdict(
        "undecided", f"{told}: an interval has its bound inside; not kept as it stands"
    )


def _points(figure: Estimate) -> str:
    value, low, high = (100 * part + 0.0 for part in (figure.value, figure.low, figure.high))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
