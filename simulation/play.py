"""One rollout, played through the code that the service runs.

Looks are `service.rollout.analysis.run.measure`, moves `service.rollout.state.transitions.advance`,
as in the controller; what is simulated is the counters, the clock and the people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.run import run_analysis, settled_at, start_analysis
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import (
    LoadSuccess,
    Phase,
    PromoteCommand,
    Reason,
    StartCommand,
    Tick,
    TrafficSwitch,
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.state.transitions import advance
from service.types import Mode
from simulation.scenario import BEFORE_SECONDS, Scenario, SimulatedTraffic

STABLE, CANARY, ACTOR = "stable", "canary", "simulation"

STALL_WITHIN = 60.0
"""Seconds after the warm-up in which a stall begins, anywhere."""


class RolloutEnding(StrEnum):
    """How a simulated rollout stood at its end."""

    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class SimulatedRollout:
    """One rollout. `at`: seconds from the canary's first requests, or copies of them in a
    shadow step, to the ending.

    `judged_from`: the look from which on the canary's fault could be counted, as
    `at`: with errors the first one, else the first after warm-up and settling;
    None if there was none. `passes`: seconds each step below 100 % took to pass,
    None for the one that had not; a shadow step is left out.
    """

    ending: RolloutEnding
    at: float
    judged_from: float | None
    passes: tuple[float | None, ...]

    @property
    def delay(self) -> float | None:
        """Seconds of evidence that a rollback took; None without one."""
        if self.ending is not RolloutEnding.ROLLED_BACK or self.judged_from is None:
            return None
        return self.at - self.judged_from


class SimulatedSource:
    """An `EvidenceSource` that draws its requests.

    Arrivals are Poisson and each request is the canary's with the chance of the
    weight, so the counts of every bucket are independent Poisson ones.
    """

    def __init__(self, traffic: SimulatedTraffic, rng: np.random.Generator) -> None:
        self._traffic = traffic
        self._rng = rng
        self._counts = np.zeros((2, len(traffic.edges) + 2), dtype=np.int64)
        self._copies = self._counts.copy()

    @property
    def edges(self) -> tuple[float, ...]:
        return self._traffic.edges

    async def read_stable(self, stable: str) -> dict[str, Counts]:  # noqa: ARG002 - a protocol's
        """Stable's requests before the canary's first one, by mode."""
        row = self._rng.poisson(self._traffic.before * BEFORE_SECONDS).tolist()
        return {Mode.STEP.value: Counts(tuple(row[:-1]), row[-1])}

    def serve(self, look: int, seconds: float, share: float, stalled: float = 0.0) -> None:
        """The requests of `seconds` before look number `look`, `share` of them the canary's;
        for `stalled` of the seconds it answers nothing."""
        stable, canary = self._traffic.stable[look], self._traffic.canary[look]
        if stalled:
            part = stalled / seconds
            canary = canary * (1 - part) + canary.sum() * part * self._traffic.stalled
        means = np.stack([stable * (1 - share), canary * share]) * seconds
        self._counts += self._rng.poisson(means)

    def shadow(self, look: int, seconds: float) -> None:
        """The same as `serve` in a shadow step: of each request there is a copy."""
        self.serve(look, seconds, 0.0)
        stable, canary = self._traffic.stable[look], self._traffic.canary[look]
        self._copies += self._rng.poisson(np.stack([stable, canary]) * seconds)

    def take(self) -> ShadowStats:
        """What the copies have shown since this was last called."""
        stable, canary = self._copies.tolist()
        self._copies[:] = 0
        answered = sum(canary[:-1])
        arms = CountsByArm(Counts(tuple(stable[:-1])), Counts(tuple(canary[:-1])))
        return ShadowStats(
            self.edges,
            {Mode.STEP.value: arms},
            answered=answered,
            faults=canary[-1],
            cosine_sum=float(answered),
        )

    async def read(self, stable: str, canary: str) -> Snapshot:
        rows = [(tuple(row[:-1]), row[-1]) for row in self._counts.tolist()]
        arms = CountsByArm(*(Counts(durations, faults) for durations, faults in rows))
        # No queue: the engine's time is the whole.
        engine = CountsByArm(*(Counts(durations) for durations, _ in rows))
        mode = Mode.STEP.value
        counted = Counters(requests={mode: arms}, inference={mode: engine})
        return Snapshot("simulated", stable, canary, counted)


async def play(
    scenario: Scenario,
    traffic: SimulatedTraffic,
    plan: RolloutPlan,
    rng: np.random.Generator,
    *,
    hold: bool,
) -> SimulatedRollout:
    """Play until the canary is promoted or rolled back, at most to the horizon.

    An approval is given at once, or with `hold` never: the guardrails then go on
    at that weight. Nobody resumes what the service has paused.
    """
    rollout, _ = advance(RolloutState(STABLE), StartCommand(CANARY, plan, "", ACTOR), 0.0)
    rollout, _ = advance(rollout, LoadSuccess(), 0.0)
    counters = SimulatedSource(traffic, rng)
    past = await counters.read_stable(STABLE)
    record = await start_analysis(counters, RolloutRecord(rollout), past, now=0.0)
    passes: list[float | None] = []
    judged_from: float | None = None
    # The service looks by its own clock: the first look falls anywhere in an interval.
    now = elapsed = float(rng.uniform(0, scenario.interval))
    stall = plan.warm_up_seconds + float(rng.uniform(0, STALL_WITHIN))
    for look in range(scenario.looks):
        before = record.rollout
        if before.present is not None and before.present.shadow:
            counters.shadow(look, elapsed)
        else:
            stalled = min(now, stall + scenario.stall) - max(now - elapsed, stall)
            counters.serve(look, elapsed, before.weight_bp / 10_000, max(0.0, stalled))
        if judged_from is None and _counts(record, plan, scenario):
            judged_from = record.analysed_at
        record, verdict, requests = await run_analysis(
            counters, record, now=now, started_at=0.0, take_shadow_stats=counters.take
        )
        record = _tick(record, Tick(verdict, requests), now, hold=hold)
        after = record.rollout
        _note_pass(passes, before, after, now)
        if after.phase is Phase.ROLLED_BACK:
            return SimulatedRollout(
                RolloutEnding.ROLLED_BACK, now, judged_from, _closed(passes, before)
            )
        if after.phase is Phase.HEALTHY:
            return SimulatedRollout(RolloutEnding.PROMOTED, now, judged_from, tuple(passes))
        elapsed = scenario.interval
        now += elapsed
    return SimulatedRollout(
        RolloutEnding.UNDECIDED, scenario.horizon, judged_from, _closed(passes, record.rollout)
    )


def _tick(record: RolloutRecord, tick: Tick, now: float, *, hold: bool) -> RolloutRecord:
    """What the controller does with a look: moves at once what needs no waiting."""
    record = _move(record, advance(record.rollout, tick, now)[0])
    if record.rollout.reason is Reason.APPROVAL and not hold:
        record = _move(record, advance(record.rollout, PromoteCommand(ACTOR), now)[0])
    if record.rollout.phase in {Phase.ABORTING, Phase.PROMOTING}:
        record = _move(record, advance(record.rollout, TrafficSwitch(), now)[0])
    return record


def _move(record: RolloutRecord, rollout: RolloutState) -> RolloutRecord:
    if rollout.step != record.rollout.step and record.evidence is not None:
        record = replace(record, evidence=record.evidence.next_step())
    return replace(record, rollout=rollout)


def _counts(record: RolloutRecord, plan: RolloutPlan, scenario: Scenario) -> bool:
    """Whether the coming look counts what is wrong with the canary, as `run_analysis` has it."""
    if record.analysed_at is None:
        return False
    if plan.steps[record.rollout.step].shadow:
        return False
    settled = settled_at(record.rollout, plan, 0.0)
    return scenario.error_rate > 0 or (record.rollout.warmed and record.analysed_at >= settled)


def _note_pass(
    passes: list[float | None], before: RolloutState, after: RolloutState, now: float
) -> None:
    """A step's first pass, be it left at once or dwelt in."""
    present = before.present
    if present is None or present.shadow or present.whole or not before.warmed:
        return
    if len(passes) > _number(before):
        return
    promoted = after.phase is Phase.HEALTHY
    if after.passed or after.step != before.step or promoted:
        passes.append(now - before.step_since)


def _number(rollout: RolloutState) -> int:
    """Of the present step, from 0, the shadow left out."""
    assert rollout.plan is not None
    return rollout.step - sum(step.shadow for step in rollout.plan.steps[: rollout.step])


def _closed(passes: list[float | None], rollout: RolloutState) -> tuple[float | None, ...]:
    """With the step that was on and had not passed."""
    present = rollout.present
    if present is None or present.shadow:
        return tuple(passes)
    open_step = not present.whole and len(passes) == _number(rollout)
    return (*passes, None) if open_step else tuple(passes)
