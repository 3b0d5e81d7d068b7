"""Thousands of simulated rollouts in batches, the same ones on any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.point_estimate_rules import PointEstimateRule, rollback_delay
from simulation.process_pool import map_in_processes
from simulation.rollout_simulation import SimulatedRollout, simulate_rollout
from simulation.scenario import Scenario, SimulatedTraffic
from simulation.simulation_row import SimulationRow, nextvec_row, point_estimate_row

BATCH_SIZE = 20
"""Rollouts in a batch; each batch has a random stream of its own."""


@dataclass(frozen=True, slots=True)
class BatchTask:
    """Some rollouts of one scenario, judged by `rule`, or by the service if it is None."""

    scenario: Scenario
    plan: RolloutPlan
    hold: bool
    rule: PointEstimateRule | None
    count: int
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The service's `rollouts`, or a rule's rollback `delays` in seconds (None: no rollback)."""

    rollouts: tuple[SimulatedRollout, ...] = ()
    delays: tuple[float | None, ...] = ()


def simulate_scenarios(
    scenarios: Sequence[Scenario],
    plan: RolloutPlan,
    *,
    hold: bool,
    compare: bool,
    rollouts: int,
    seed: int,
    processes: int,
    advanced: Callable[[int], None],
) -> list[SimulationRow]:
    """One row for each rule and scenario.

    With `compare` the point-estimate rules judge the same scenarios too. `advanced` is
    called with the number of rollouts that have just finished.
    """
    rules: list[PointEstimateRule | None] = [None, *PointEstimateRule] if compare else [None]
    rows = [(rule, scenario) for rule in rules for scenario in scenarios]
    tasks = [
        (
            i,
            BatchTask(
                scenario, plan, hold, rule, min(BATCH_SIZE, rollouts - start), (seed, i, start)
            ),
        )
        for i, (rule, scenario) in enumerate(rows)
        for start in range(0, rollouts, BATCH_SIZE)
    ]
    results: list[list[BatchResult]] = [[] for _ in rows]
    for (i, task), result in zip(
        tasks,
        map_in_processes(simulate_batch, [task for _, task in tasks], processes),
        strict=True,
    ):
        results[i].append(result)
        advanced(task.count)
    return [
        nextvec_row(scenario, [rollout for result in found for rollout in result.rollouts])
        if rule is None
        else point_estimate_row(rule, scenario, [d for result in found for d in result.delays])
        for (rule, scenario), found in zip(rows, results, strict=True)
    ]


def simulate_batch(task: BatchTask) -> BatchResult:
    """Simulate one batch. Runs in a process of its own."""
    traffic = SimulatedTraffic.of(task.scenario)
    rng = np.random.default_rng(task.seed)
    if task.rule is not None:
        return BatchResult(
            delays=tuple(
                rollback_delay(task.rule, task.scenario, traffic, task.plan, rng)
                for _ in range(task.count)
            )
        )
    return BatchResult(rollouts=tuple(asyncio.run(_simulate_batch(task, traffic, rng))))


async def _simulate_batch(
    task: BatchTask, traffic: SimulatedTraffic, rng: np.random.Generator
) -> list[SimulatedRollout]:
    return [
        await simulate_rollout(task.scenario, traffic, task.plan, rng, hold=task.hold)
        for _ in range(task.count)
    ]
