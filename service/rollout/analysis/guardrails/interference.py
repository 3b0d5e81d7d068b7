"""The guardrail interference: stable's P95 during the rollout against before it.

Two variants share a device, so a slow canary can slow stable down, and then the
comparison of the two looks fine: it hides itself. So stable is also held against its
own past: τ is the bucket edge at its percentile in the last ten to twenty minutes before
the canary's first request (see `service.rollout.analysis.baseline`), fixed for the rollout, and
a stable request is marked when it takes longer than ratio·τ or fails. While stable's
percentile is within that, a request is marked with a chance of at most
p = 1 - quantile, given all that was before, and E[r^a] ≤ (1 + p(r - 1))^n for `a` marked
of n: the binomial bet of `ceiling`.

Before against after is not chance against chance: the load may have changed for reasons
of its own, and then the bet is lost in earnest. No test can tell the two apart from
counts alone. Hence the caution:

- the ratio is large, three by default: load that swings by a factor of two either
  way, minutes apart, does not reach it;
- it must persist: the clip is such that no fewer than eight looks decide, two
  minutes at a look every 15 s;
- its consequence is the rollback, which harms nobody: whether the canary or the load
  slows stable threefold, it is no time for a rollout. The words say that it may be
  either;
- it can only fail. No step waits for it, and without a baseline (a service that has
  just begun, or little traffic) it stays silent.

It is judged per request mode, after warm-up and settling, and not at 100 %, where stable
has no requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from service.rollout.analysis.counters import Counts, percentile, percentile_bucket
from service.rollout.analysis.e_process import EProcess, EvidenceBounds, log_held_against
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import seconds
from service.rollout.analysis.verdict import Verdict, VerdictOutcome

GRID = (1.35, 1.6, 2.0, 2.7, 4.0, 6.0, 10.0)

LOOKS = 8
"""That must agree, at least."""


@dataclass(frozen=True, slots=True)
class StableCounts:
    """Stable's requests of one mode: since the canary's first, in this step, and how many
    of all were marked."""

    rollout: Counts
    step: Counts
    marked: int = 0


@dataclass(frozen=True, slots=True)
class InterferenceState:
    """The test's whole memory, by request mode. `before` has stable's requests from before
    the rollout: none where nobody counted them."""

    before: dict[str, Counts] = field(default_factory=dict)
    wager: EProcess = field(default_factory=lambda: EProcess.over(len(GRID), 1))
    modes: dict[str, StableCounts] = field(default_factory=dict)

    def next_step(self) -> InterferenceState:
        modes = {
            mode: replace(shift, step=Counts((0,) * len(shift.step.durations)))
            for mode, shift in self.modes.items()
        }
        return InterferenceState(self.before, self.wager.next_step(), modes)


@dataclass(frozen=True, slots=True)
class InterferenceGuardrail:
    """The guardrail. `apart` is the number of bucket edges from τ to ratio·τ, `edges` are
    the upper ones in seconds."""

    name: str
    bounds: EvidenceBounds
    ratio: float
    apart: int
    quantile: float
    baseline_samples: int
    edges: tuple[float, ...]

    @property
    def threshold(self) -> float:
        return self.ratio

    def begin(self) -> InterferenceState:
        return InterferenceState()

    def look(self, test: InterferenceState, look: Measurement) -> InterferenceState:
        """A mode without a baseline, or without stable's requests, holds."""
        fail = [0.0] * len(GRID)
        modes, moved = dict(test.modes), False
        if not look.steady or look.alone:
            return test
        for mode, new in look.new.requests.items():
            tau, n = self.tau(test, mode), new.stable.total
            if tau is None or not n:
                continue
            moved = True
            marked = new.stable.over(tau + self.apart)
            blank = Counts.none(self.edges)
            old = modes.get(mode) or StableCounts(blank, blank)
            modes[mode] = StableCounts(
                old.rollout.plus(new.stable), old.step.plus(new.stable), old.marked + marked
            )
            factors = [log_held_against(1 - self.quantile, marked, n, r) for r in GRID]
            fail = [x + y for x, y in zip(fail, factors, strict=True)]
        wager = test.wager.after(fail, [0.0], self.bounds, looks=LOOKS) if moved else test.wager
        return InterferenceState(test.before, wager, modes)

    def tau(self, test: InterferenceState, mode: str) -> int | None:
        """The number of the edge at stable's percentile before; None without enough of it,
        or where ratio·τ is beyond the last edge."""
        before = test.before.get(mode)
        if before is None or before.total < self.baseline_samples:
            return None
        with_faults = [*before.durations[:-1], before.durations[-1] + before.faults]
        at = percentile_bucket(with_faults, self.quantile)
        return at if at + self.apart < len(self.edges) else None

    def assess(self, test: InterferenceState) -> Verdict:
        evidence = test.wager.log_fail()
        failed = evidence >= self.bounds.log_fail
        outcome = VerdictOutcome.FAIL if failed else VerdictOutcome.INCONCLUSIVE
        wanted = f"ln(1/{self.bounds.fail:.2g}) = {self.bounds.log_fail:.2f}"
        words = (
            f"ln E = {evidence:.2f} ≥ {wanted}, by the canary or by load of its own"
            if failed
            else f"ln E = {evidence:.2f}, {wanted} wanted for a fail; it can only fail"
        )
        clauses = [self._clause(test, mode, shift) for mode, shift in sorted(test.modes.items())]
        main = max(test.modes, key=lambda mode: test.modes[mode].step.total, default=None)
        now = None if main is None else self._percentile(test.modes[main].step)
        then = None if main is None else self._percentile(test.before[main])
        return Verdict(
            name=self.name,
            outcome=outcome,
            message="; ".join([f"{outcome}: {words}", *(clauses or [_silence(test)])]),
            threshold=self.ratio,
            fail_bound=self.bounds.log_fail,
            pass_bound=self.bounds.log_pass,
            log_fail=evidence,
            stable=sum(shift.step.total for shift in test.modes.values()),
            ratio=None if now is None or then is None else now / then,
            details={"p95_seconds": {"stable": now, "before": then}},
        )

    def _percentile(self, counts: Counts) -> float | None:
        return percentile(counts, self.edges, self.quantile)

    def _clause(self, test: InterferenceState, mode: str, shift: StableCounts) -> str:
        tau = self.tau(test, mode)
        assert tau is not None
        slow = seconds(self.edges[tau + self.apart])
        percentile = f"P{self.quantile * 100:g}"
        return (
            f"{mode}: {shift.marked} of {shift.rollout.total} stable requests failed or took "
            f"longer than {self.ratio:.3g}·τ = {slow}, τ being their {percentile} before"
        )


def _silence(test: InterferenceState) -> str:
    seen = sum(counts.total for counts in test.before.values())
    return f"nothing compared yet, with {seen} stable requests from before the rollout"
