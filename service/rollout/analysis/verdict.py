"""What the guardrails conclude: one verdict each, and one assessment of them all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class VerdictOutcome(StrEnum):
    """What a guardrail concludes."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guardrail's conclusion from all evaluations so far.

    `log_fail` and `log_pass` are ln E. The guardrail fails at `fail_bound`, which is
    ln(1/its share of alpha), and passes at `pass_bound`. `canary` and `stable` count
    what was judged in this step, in `unit`s. `ratio` is a point estimate for people and
    `threshold` its limit. `binding`: the guardrail has enough evidence that the step waits
    for it although the plan does not require it. `details` are the guardrail's own
    figures, as JSON.
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
        """The verdict as in the status and the audit log. `required`: the step needs its pass."""
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
    """All guardrails' verdicts and what follows from them together.

    `guardrail` names the one that decided; None where all had to agree. `canary` and
    `stable` count the requests judged in this step by the required guardrail that has
    seen the fewest, because a step needs its samples for each of them.
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
    """Combine verdicts: any fail is a fail; otherwise the error of a required guardrail is
    an error; otherwise it is a pass once every required guardrail passes.

    Because all must pass, the probability of a false pass is that of the one guardrail
    that should not have passed, without dividing alpha among them: an
    intersection-union test (Berger 1982). One fail suffices, so alpha is divided on
    that side.
    """
    needed = [verdict for verdict in verdicts if verdict.name in required]
    # A step's samples are requests. Guardrails with another unit define "enough" themselves.
    by_request = [verdict for verdict in needed or verdicts if verdict.unit == "requests"]
    fewest = min(by_request, key=lambda v: (v.canary, v.stable), default=None)

    def assessment(outcome: VerdictOutcome, by: Sequence[Verdict], name: str | None) -> Assessment:
        return Assessment(
            outcome=outcome,
            message="; ".join(f"{v.name} {v.message}" for v in by)
            or "no guardrail has been evaluated yet",
            guardrail=name,
            canary=fewest.canary if fewest else 0,
            stable=fewest.stable if fewest else 0,
            verdicts=tuple(verdicts),
            required=required,
        )

    for outcome, among in ((VerdictOutcome.FAIL, verdicts), (VerdictOutcome.ERROR, needed)):
        for verdict in among:
            if verdict.outcome is outcome:
                return assessment(outcome, [verdict], verdict.name)
    undecided = [v for v in needed if v.outcome is not VerdictOutcome.PASS]
    if needed and not undecided:
        return assessment(VerdictOutcome.PASS, needed, None)
    return assessment(VerdictOutcome.INCONCLUSIVE, undecided, None)
