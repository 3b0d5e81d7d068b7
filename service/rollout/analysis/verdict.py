"""What the guardrails conclude: one verdict each, and one assessment of them all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from service.rollout.analysis.comparison import Comparison

LEANING = 1 / 3
"""The part of the evidence for a verdict from which on a guardrail leans to it. For a fail, a
compliant canary reaches a third of ln(1/0.0033) with a chance of at most 15 %. Once it leans,
it leans until that evidence is gone, so that its word does not flicker around the third."""


class VerdictOutcome(StrEnum):
    """What a guardrail concludes."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Stance(StrEnum):
    """How near a guardrail is to a verdict. `WATCHING`: it can only fail, and does not lean."""

    PASSED = "passed"
    LEANING_TO_PASS = "leaning_to_pass"  # noqa: S105 - a standing, not a password
    COLLECTING = "collecting"
    WATCHING = "watching"
    NO_DATA = "no_data"
    LEANING_TO_FAIL = "leaning_to_fail"
    FAILED = "failed"
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

    `label` names the figure for people, and `comparison` has both variants' values. `held`:
    why a pass that the evidence allows is held back. `shares` are the parts of the evidence
    for a pass and for a fail, 0..1, where they do not follow from the bounds. `leaned`: how it
    leaned, see `after`.
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
    label: str = ""
    comparison: Comparison | None = None
    can_pass: bool = True
    held: str | None = None
    shares: tuple[float, float] | None = None
    leaned: Stance | None = None

    @property
    def pass_progress(self) -> float:
        """The part of the evidence for a pass, 0..1; 1 only for a pass."""
        if self.outcome is VerdictOutcome.PASS:
            return 1.0
        if self.shares is not None:
            return _part(self.shares[0], 1.0)
        return _part(self.log_pass, self.pass_bound) if self.can_pass else 0.0

    @property
    def fail_progress(self) -> float:
        """The part of the evidence for a fail, 0..1; 1 only for a fail."""
        if self.outcome is VerdictOutcome.FAIL:
            return 1.0
        return (
            _part(self.log_fail, self.fail_bound)
            if self.shares is None
            else _part(self.shares[1], 1.0)
        )

    @property
    def standing(self) -> Stance:
        """How near it is to a verdict.

        A leaning begins at a third of the evidence and ends when none of it is left, or when
        it leans the other way. So a fail is never said later than the third.
        """
        decided = {
            VerdictOutcome.PASS: Stance.PASSED,
            VerdictOutcome.FAIL: Stance.FAILED,
            VerdictOutcome.ERROR: Stance.ERROR,
        }
        if self.outcome in decided:
            return decided[self.outcome]
        failing, passing = self.fail_progress, self.pass_progress
        if failing >= max(LEANING, passing):
            return Stance.LEANING_TO_FAIL
        if self.leaned is Stance.LEANING_TO_FAIL and failing > 0 and passing < LEANING:
            return Stance.LEANING_TO_FAIL
        if not self.canary and not self.stable:
            return Stance.NO_DATA
        if passing >= LEANING or (self.leaned is Stance.LEANING_TO_PASS and passing > 0):
            return Stance.LEANING_TO_PASS
        return Stance.COLLECTING if self.can_pass else Stance.WATCHING

    def after(self, leaned: Stance | None) -> Verdict:
        """The verdict after an evaluation at which its guardrail leaned so. It keeps how it leans
        now, so that the same evidence gives the same verdict again."""
        known = replace(self, leaned=leaned)
        return replace(known, leaned=known.leaning)

    @property
    def leaning(self) -> Stance | None:
        """What the next evaluation must know of this one; a pass leaves a leaning to it."""
        match self.standing:
            case Stance.PASSED | Stance.LEANING_TO_PASS:
                return Stance.LEANING_TO_PASS
            case Stance.FAILED | Stance.LEANING_TO_FAIL:
                return Stance.LEANING_TO_FAIL
        return None

    @property
    def summary(self) -> str:
        """The verdict in one plain sentence."""
        text = self.comparison.text if self.comparison else self.message
        if self.outcome is VerdictOutcome.ERROR:
            return f"It cannot be judged: {self.message.removeprefix('error: ')}."
        return f"{text[:1].upper()}{text[1:]}{self._evidence_text()}."

    @property
    def contradicts_its_figure(self) -> bool:
        """Whether the evidence is against the canary although the figure of this step complies:
        it counts over the whole rollout, and request by request."""
        against = self.standing in {Stance.FAILED, Stance.LEANING_TO_FAIL}
        if not against or not self.fail_bound or self.comparison is None:
            return False
        return self.comparison.is_within_limit

    def _evidence_text(self) -> str:
        match self.standing:
            case Stance.PASSED:
                return ": passed"
            case Stance.FAILED:
                return ": failed"
            case Stance.NO_DATA | Stance.WATCHING:
                return ""
            case Stance.LEANING_TO_FAIL:
                text = f"; {100 * self.fail_progress:.0f} % of the evidence for a fail"
                return f"{text}, from earlier requests" if self.contradicts_its_figure else text
        if self.held:
            return f"; the pass is held back because {self.held}"
        return f"; {100 * self.pass_progress:.0f} % of the evidence for a pass"

    def to_json(self, *, required: bool) -> dict[str, object]:
        """The verdict as in the status and the audit log. `required`: the step needs its pass."""
        comparison = self.comparison
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
            "label": self.label or self.name,
            "standing": self.standing.value,
            "effect": "must_pass" if required else "can_roll_back",
            "summary": self.summary,
            **(comparison.to_json() if comparison else _NO_COMPARISON),
            "progress": {"pass": self.pass_progress, "fail": self.fail_progress},
            **self.details,
        }


_NO_COMPARISON: Mapping[str, object] = dict.fromkeys(
    (
        "stable",
        "canary",
        "value_unit",
        "difference",
        "difference_kind",
        "limit",
        "direction",
        "interval",
    )
)


def _part(evidence: float, bound: float) -> float:
    """The part of the bound that is reached. Short of a verdict it never shows as all of it."""
    return min(0.99, max(0.0, evidence / bound)) if bound > 0 else 0.0


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
