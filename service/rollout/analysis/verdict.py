"""What guardrails say, each and together, in words and in numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class VerdictOutcome(StrEnum):
    """What a guardrail says."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guardrail's, of all looks so far.

    `log_fail` and `log_pass` are ln E; it fails at `fail_bound`, ln 1/(its share of
    alpha), and passes at `pass_bound`. `canary`, `stable`: what was judged in this
    step, of which `unit` says what it is. `ratio` is a point estimate for people,
    `threshold` what it may be. `binding`: it has seen enough to be waited for, though
    the plan does not require it. `details` are the guardrail's own figures, as JSON.
    """

    name: str
    outcome: VerdictOutcome
    message: str
    threshold: float
    fail_bound: float
    pass_bound: float
    log_fail: float = 0.0
    log_pass: float = 0.0
    canary: int = 0
    stable: int = 0
    ratio: float | None = None
    unit: str = "requests"
    binding: bool = False
    details: Mapping[str, object] = field(default_factory=dict)

    def to_json(self, *, required: bool) -> dict[str, object]:
        """As in the status and the audit log. `required`: the step does not pass without it."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "required": required,
            "message": self.message,
            "ratio": self.ratio,
            "threshold": self.threshold,
            "log_evidence": {
                "fail": self.log_fail,
                "pass": self.log_pass,
                "bound": self.fail_bound,
                "pass_bound": self.pass_bound,
            },
            "samples": {"canary": self.canary, "stable": self.stable},
            "unit": self.unit,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Assessment:
    """All guardrails' verdicts and what follows from them.

    `guardrail` names the one that decided, None where all had to agree. `canary` and
    `stable` are requests judged in this step, of the required guardrail that has seen
    the fewest: a step's samples are wanted for each of them.
    """

    outcome: VerdictOutcome
    message: str
    guardrail: str | None = None
    canary: int = 0
    stable: int = 0
    verdicts: tuple[Verdict, ...] = ()
    required: frozenset[str] = frozenset()

    def to_json(self) -> list[dict[str, object]]:
        """Every verdict, in the order of the guardrails."""
        return [
            verdict.to_json(required=verdict.name in self.required) for verdict in self.verdicts
        ]


def assess(verdicts: Sequence[Verdict], required: frozenset[str]) -> Assessment:
    """Any fail is a fail, whoever says it; else the error of a required one is an
    error; else it passes when every required one does.

    That all must pass makes the chance of a false pass that of the guardrail which
    should not have, with no split of alpha over them: an intersection-union test
    (Berger 1982). A fail of any suffices, so that side's alpha is split.
    """
    needed = [verdict for verdict in verdicts if verdict.name in required]
    # A step's samples are requests; a guardrail that counts something else has its own
    # idea of enough.
    counting = [verdict for verdict in needed or verdicts if verdict.unit == "requests"]
    fewest = min(counting, key=lambda v: (v.canary, v.stable), default=None)

    def judgement(outcome: VerdictOutcome, by: Sequence[Verdict], name: str | None) -> Assessment:
        return Assessment(
            outcome=outcome,
            message="; ".join(f"{v.name} {v.message}" for v in by) or "no guardrail has looked yet",
            guardrail=name,
            canary=fewest.canary if fewest else 0,
            stable=fewest.stable if fewest else 0,
            verdicts=tuple(verdicts),
            required=required,
        )

    for outcome, among in ((VerdictOutcome.FAIL, verdicts), (VerdictOutcome.ERROR, needed)):
        for verdict in among:
            if verdict.outcome is outcome:
                return judgement(outcome, [verdict], verdict.name)
    open_ones = [v for v in needed if v.outcome is not VerdictOutcome.PASS]
    if needed and not open_ones:
        return judgement(VerdictOutcome.PASS, needed, None)
    return judgement(VerdictOutcome.INCONCLUSIVE, open_ones, None)
