"""What a guardrail compares, for people: both values, their difference and its limit. Pure.

Nothing here decides. The verdict follows from the evidence alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ValueUnit(StrEnum):
    """The unit of both variants' values. A share is 0..1."""

    SECONDS = "seconds"
    SHARE = "share"


class DifferenceKind(StrEnum):
    """How the difference is formed: canary / stable, or canary - stable in percentage points."""

    RATIO = "ratio"
    POINTS = "points"


class LimitDirection(StrEnum):
    """Which side of the limit complies."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


@dataclass(frozen=True, slots=True)
class RatioInterval:
    """The ratios of canary to stable that the sequential test has not rejected.

    None for an end means that no ratio has been rejected on that side. `confidence`: see
    `service.rollout.analysis.ratio_interval`.
    """

    low: float | None
    high: float | None
    confidence: float

    def to_json(self) -> dict[str, object]:
        return {
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The interval in words."""
        if self.low is not None and self.high is not None:
            return f"between {self.low:.2f} and {self.high:.2f} times stable's"
        if self.low is not None:
            return f"more than {self.low:.2f} times stable's"
        if self.high is not None:
            return f"less than {self.high:.2f} times stable's"
        return "not bounded yet"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both variants' values of one guardrail in the current step.

    `text` says the difference with both values and the limit, `short` without the values:
    clauses whose subject is the figure, such as "P95 is 4 % higher than stable's (up to 20 %
    higher is allowed)". `possessive`: the figure is the canary's, so "its" may come before it.
    `suspicion` is what the canary does that leans to a fail, and `fault` why it was rolled
    back: "looks too slow", "it was too slow". `before` is stable's value before the rollout,
    for the guardrail that compares with it. Values are None where there are none.
    """

    text: str
    short: str
    value_unit: ValueUnit
    kind: DifferenceKind
    limit: float
    direction: LimitDirection = LimitDirection.AT_MOST
    stable: float | None = None
    canary: float | None = None
    before: float | None = None
    difference: float | None = None
    interval: RatioInterval | None = None
    possessive: bool = True
    suspicion: str = "looks bad"
    fault: str = "it was bad"

    @property
    def clause(self) -> str:
        """`text` about the canary: "its P95 is …"."""
        return f"its {self.text}" if self.possessive else self.text

    @property
    def short_clause(self) -> str:
        """`short` about the canary."""
        return f"its {self.short}" if self.possessive else self.short

    @property
    def is_within_limit(self) -> bool:
        """Whether there is a difference, and it complies."""
        if self.difference is None:
            return False
        if self.direction is LimitDirection.AT_LEAST:
            return self.difference >= self.limit
        return self.difference <= self.limit

    def to_json(self) -> dict[str, object]:
        """As in the status."""
        values: dict[str, object] = {
            "stable": self.stable,
            "canary": self.canary,
            "value_unit": self.value_unit.value,
            "difference": self.difference,
            "difference_kind": self.kind.value,
            "limit": self.limit,
            "direction": self.direction.value,
            "interval": self.interval.to_json() if self.interval else None,
        }
        return values if self.before is None else {**values, "before": self.before}
