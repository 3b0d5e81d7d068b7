"""The guardrail ceiling: canary P95 against bounds in seconds, whatever stable does.

Two bounds a request mode: one to roll back at, one to aim at. A request is over a bound
when it takes longer or fails. While the canary's percentile is within the bound, a
request is over it with a chance of at most p = 1 - quantile, given all that was before;
then for odds r > 1, `a` of n being over it, E[r^a] ≤ (1 + p(r - 1))^n, a binomial bet
(Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting").
The product over looks of the left side over the right one is a supermartingale: the
case for a rollback. The mirror image, r < 1 on requests over the aim, is the case for a
pass. Between the two bounds it says neither.

Counts know their buckets' edges alone, so the bound to roll back at is the next edge
above, the aim the next one below: neither verdict falls for a rounding's sake. The
words say which.

What random assignment gives the other guardrails, robustness against whatever slows
both arms, this one cannot have. A canary on a slow machine breaks an absolute bound
that stable breaks as well. So it is off unless a plan turns it on, and even then no
step has to pass it unless the plan says so. Bounds are by mode, as a context of a
thousand vectors and one more vector of a session have none in common; by default there
is one for single steps alone. Modes without one are not judged.

Speed is judged after warm-up and settling; stakes and clip are those of `wager`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from service.rollout.analysis.counters import CountsByArm
from service.rollout.analysis.e_process import EProcess, EvidenceBounds, log_held_against
from service.rollout.analysis.guardrails.config import LatencyCeilingConfig
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import seconds
from service.rollout.analysis.verdict import Verdict, VerdictOutcome
from service.types import Mode

GRID = (1.15, 1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)
PASS_GRID = (0.02, 0.2, 0.4, 0.6, 0.75, 0.87)


@dataclass(frozen=True, slots=True)
class ExceedanceCounts:
    """Requests judged in one mode, and how many of the canary's were over each bound."""

    canary: int = 0
    stable: int = 0
    over_roll_back: int = 0
    over_aim: int = 0

    def plus(self, new: CountsByArm, over_roll_back: int, over_aim: int) -> ExceedanceCounts:
        return ExceedanceCounts(
            self.canary + new.canary.total,
            self.stable + new.stable.total,
            self.over_roll_back + over_roll_back,
            self.over_aim + over_aim,
        )


@dataclass(frozen=True, slots=True)
class LatencyCeilingState:
    """The test's whole memory, by request mode."""

    wager: EProcess = field(default_factory=lambda: EProcess.over(len(GRID), len(PASS_GRID)))
    rollout: dict[str, ExceedanceCounts] = field(default_factory=dict)
    step: dict[str, ExceedanceCounts] = field(default_factory=dict)

    def next_step(self) -> LatencyCeilingState:
        return replace(self, wager=self.wager.next_step(), step={})


@dataclass(frozen=True, slots=True)
class LatencyCeilingGuardrail:
    """The guardrail. `edges` are the upper bucket edges in seconds."""

    name: str
    bounds: EvidenceBounds
    figures: LatencyCeilingConfig
    quantile: float
    edges: tuple[float, ...]

    @property
    def threshold(self) -> float:
        """The ratio is the share of requests over the bound, over the share that may be."""
        return 1.0

    def begin(self) -> LatencyCeilingState:
        return LatencyCeilingState()

    def look(self, test: LatencyCeilingState, look: Measurement) -> LatencyCeilingState:
        """A mode without a bound or without requests of the canary holds."""
        fail, good = [0.0] * len(GRID), [0.0] * len(PASS_GRID)
        rollout, step = dict(test.rollout), dict(test.step)
        allowed, moved = 1 - self.quantile, False
        for mode in self.figures.modes:
            new = look.new.requests.get(mode)
            if new is None or not new.canary.total or not look.steady:
                continue
            moved = True
            back, aim = self._edges(mode)
            over = new.canary.over(back), new.canary.over(aim)
            rollout[mode] = rollout.get(mode, ExceedanceCounts()).plus(new, *over)
            step[mode] = step.get(mode, ExceedanceCounts()).plus(new, *over)
            n = new.canary.total
            fail = _plus(fail, [log_held_against(allowed, over[0], n, r) for r in GRID])
            good = _plus(good, [log_held_against(allowed, over[1], n, q) for q in PASS_GRID])
        wager = test.wager.after(fail, good, self.bounds) if moved else test.wager
        return LatencyCeilingState(wager, rollout, step)

    def assess(self, test: LatencyCeilingState) -> Verdict:
        outcome, words = self.bounds.verdict(test.wager)
        seen = test.rollout if outcome is VerdictOutcome.FAIL else test.step
        clauses = [self._clause(mode, over) for mode, over in sorted(seen.items())]
        step = test.step.values()
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join([f"{outcome}: {words}", *clauses]),
            threshold=self.threshold,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=test.wager.log_fail(),
            log_pass=test.wager.log_pass(),
            canary=sum(over.canary for over in step),
            stable=sum(over.stable for over in step),
            ratio=self._ratio(test),
            details={"modes": [self._mode(mode, over) for mode, over in sorted(test.step.items())]},
        )

    def _edges(self, mode: str) -> tuple[int, int]:
        """The numbers of the edges to roll back at and to aim at; -1 below the first one."""
        bound = self.figures.modes[Mode(mode)]
        above = [i for i, edge in enumerate(self.edges) if edge >= bound.roll_back_seconds]
        # Beyond the last edge lies the service's own deadline: those are failed requests.
        back = above[0] if above else len(self.edges) - 1
        return back, sum(edge <= bound.aim_seconds for edge in self.edges) - 1

    def _ratio(self, test: LatencyCeilingState) -> float | None:
        canary = sum(over.canary for over in test.step.values())
        over = sum(over.over_roll_back for over in test.step.values())
        return over / canary / (1 - self.quantile) if canary else None

    def _mode(self, mode: str, over: ExceedanceCounts) -> dict[str, object]:
        back, aim = self._edges(mode)
        return {
            "mode": mode,
            "roll_back_seconds": self.edges[back],
            "aim_seconds": self.edges[aim] if aim >= 0 else None,
            "over_roll_back": over.over_roll_back,
            "over_aim": over.over_aim,
        }

    def _clause(self, mode: str, over: ExceedanceCounts) -> str:
        back, aim = self._edges(mode)
        aimed = seconds(self.edges[aim]) if aim >= 0 else "any bucket"
        return (
            f"{mode}: of {over.canary} canary requests {over.over_roll_back} failed or took longer "
            f"than {seconds(self.edges[back])} and {over.over_aim} than {aimed}, where "
            f"{1 - self.quantile:.2g} of them may"
        )


def _plus(total: Sequence[float], new: Sequence[float]) -> list[float]:
    return [x + y for x, y in zip(total, new, strict=True)]
