"""One rollout, simulated with the code that the service runs.

`run_analysis` measures and `apply` decides, as in the controller. The counters, the clock and
the people are simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.latency import LatencyState
from service.rollout.controller.analysis_run import run_analysis, settled_at, start_analysis
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.change import Effect, apply
from service.rollout.state.events import (
    AnalysisResult,
    Event,
    LoadSuccess,
    Phase,
    PromoteCommand,
    Reason,
    StartCommand,
    TrafficSwitch,
)
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from simulation.scenario import Scenario, SimulatedTraffic
from simulation.simulated_source import SimulatedSource

STABLE, CANARY, ACTOR = "stable", "canary", "simulation"

Observer = Callable[[float, RolloutRecord], None]
"""Called with the seconds since the first request and the record, after each analysis run."""

STALL_WITHIN = 60.0
"""A stall starts at a random time in so many seconds after the warm-up."""


class RolloutEnding(StrEnum):
    """How a simulated rollout ended."""

    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class SimulatedRollout:
    """One rollout. All times are in seconds from the canary's first request or shadow copy.

    `at`: the ending. `judged_from`: the analysis run from which the canary's fault could be
    counted, None if there was none. With errors that is the first run, otherwise the first one
    after warm-up and settling. `passes`: how long each step below 100 % took to pass, None for
    a step that had not passed; a shadow step is left out.
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


async def simulate_rollout(
    scenario: Scenario,
    traffic: SimulatedTraffic,
    plan: RolloutPlan,
    rng: np.random.Generator,
    *,
    hold: bool,
    observe: Observer | None = None,
) -> SimulatedRollout:
    """Run until the canary is promoted or rolled back, at most to the horizon.

    An approval is given at once, or never with `hold`: the guardrails then go on at that
    weight. Nobody resumes a rollout that has paused itself.
    """
    source = SimulatedSource(traffic, rng)
    record = await _start(source, plan)
    passes: list[float | None] = []
    judged_from: float | None = None
    # The service has its own clock, so the first analysis run falls anywhere in an interval.
    now = elapsed = float(rng.uniform(0, scenario.interval))
    stall = plan.warm_up_seconds + float(rng.uniform(0, STALL_WITHIN))
    for run in range(scenario.max_runs):
        before = record.rollout
        if before.current_step is not None and before.current_step.shadow:
            source.shadow(run, elapsed)
        else:
            stalled = min(now, stall + scenario.stall) - max(now - elapsed, stall)
            source.serve(run, elapsed, before.weight_bp / 10_000, max(0.0, stalled))
        if judged_from is None and _is_judged(record, plan, scenario):
            judged_from = record.analysed_at
        result = await run_analysis(
            source, record, now=now, started_at=0.0, take_shadow_stats=source.take
        )
        record = _apply_result(record, result, now, hold=hold)
        if observe is not None:
            observe(now, record)
        after = record.rollout
        _note_pass(passes, before, after, now)
        if after.phase is Phase.ROLLED_BACK:
            return SimulatedRollout(
                RolloutEnding.ROLLED_BACK, now, judged_from, _close_step(passes, before)
            )
        if after.phase is Phase.HEALTHY:
            return SimulatedRollout(RolloutEnding.PROMOTED, now, judged_from, tuple(passes))
        elapsed = scenario.interval
        now += elapsed
    return SimulatedRollout(
        RolloutEnding.UNDECIDED, scenario.horizon, judged_from, _close_step(passes, record.rollout)
    )


async def _start(source: SimulatedSource, plan: RolloutPlan) -> RolloutRecord:
    """The record of a rollout whose canary has just been loaded, at time 0."""
    record = RolloutRecord(RolloutState(STABLE))
    record = _apply(record, StartCommand(CANARY, plan, "", ACTOR), 0.0)
    past = await source.read_stable(STABLE)
    baseline = await start_analysis(source, record.rollout, past, now=0.0)
    record = _apply(record, LoadSuccess(baseline), 0.0)
    return record if record.evidence is None else _without_ladders(record, record.evidence)


def _without_ladders(record: RolloutRecord, evidence: Evidence) -> RolloutRecord:
    """The record without the evidence for intervals, which nobody reads here and which takes
    longer than all verdicts."""
    for name, state in evidence.states.items():
        if isinstance(state, LatencyState):
            evidence = evidence.with_state(name, replace(state, ladder=None))
    return replace(record, evidence=evidence)


def _apply_result(
    record: RolloutRecord, result: AnalysisResult, now: float, *, hold: bool
) -> RolloutRecord:
    """The record after an analysis run, and after the approval that it may wait for."""
    record = _apply(record, result, now)
    if record.rollout.reason is Reason.APPROVAL and not hold:
        record = _apply(record, PromoteCommand(ACTOR), now)
    return record


def _apply(record: RolloutRecord, event: Event, now: float) -> RolloutRecord:
    """The record after `event`. Saving and traffic are not simulated: they always succeed."""
    change = apply(record, event, now)
    if Effect.FINISH_PROMOTION in change.effects:
        change = apply(change.record, TrafficSwitch(), now)
    return change.record


def _is_judged(record: RolloutRecord, plan: RolloutPlan, scenario: Scenario) -> bool:
    """Whether the next analysis run counts the canary's fault."""
    if record.analysed_at is None:
        return False
    if plan.steps[record.rollout.step].shadow:
        return False
    settled = settled_at(record.rollout, plan, 0.0)
    return scenario.error_rate > 0 or (record.rollout.warmed and record.analysed_at >= settled)


def _note_pass(
    passes: list[float | None], before: RolloutState, after: RolloutState, now: float
) -> None:
    """Note the first pass of a step, whether the step ends with it or has to dwell."""
    step = before.current_step
    if step is None or step.shadow or step.takes_all or not before.warmed:
        return
    if len(passes) > _step_number(before):
        return
    promoted = after.phase is Phase.HEALTHY
    if after.passed or after.step != before.step or promoted:
        passes.append(now - before.step_since)


def _step_number(rollout: RolloutState) -> int:
    """The number of the current step from 0, shadow steps left out."""
    assert rollout.plan is not None
    return rollout.step - sum(step.shadow for step in rollout.plan.steps[: rollout.step])


def _close_step(passes: list[float | None], rollout: RolloutState) -> tuple[float | None, ...]:
    """With None for the current step, if it has not passed."""
    step = rollout.current_step
    if step is None or step.shadow:
        return tuple(passes)
    unpassed = not step.takes_all and len(passes) == _step_number(rollout)
    return (*passes, None) if unpassed else tuple(passes)
