"""Thousands of rollouts, over the machine's cores; the same ones whatever their number."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import point_estimate_rules
from simulation.play import SimulatedRollout, play
from simulation.point_estimate_rules import PointEstimateRule
from simulation.scenario import Scenario, SimulatedTraffic
from simulation.simulation_row import SimulationRow, point_estimate_row, row

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 20
"""Rollouts a task; each task has a random stream of its own."""


@dataclass(frozen=True, slots=True)
class RolloutTask:
    """Some rollouts of one scenario: the service's for no `rival`."""

    scenario: Scenario
    plan: RolloutPlan
    hold: bool
    rival: PointEstimateRule | None
    count: int
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """What a task gave: `played` by the service, `delays` by a rival (None: no rollback)."""

    played: tuple[SimulatedRollout, ...] = ()
    delays: tuple[float | None, ...] = ()


def work(task: RolloutTask) -> RolloutBatch:
    """Play one task. Runs in a process of its own."""
    traffic = SimulatedTraffic.of(task.scenario)
    rng = np.random.default_rng(task.seed)
    if task.rival is not None:
        return RolloutBatch(
            delays=tuple(
                point_estimate_rules.play(task.rival, task.scenario, traffic, task.plan, rng)
                for _ in range(task.count)
            )
        )
    return RolloutBatch(played=tuple(asyncio.run(_several(task, traffic, rng))))


async def _several(
    task: RolloutTask, traffic: SimulatedTraffic, rng: np.random.Generator
) -> list[SimulatedRollout]:
    return [
        await play(task.scenario, traffic, task.plan, rng, hold=task.hold)
        for _ in range(task.count)
    ]


def run(
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
    """A row for each scenario and rule. `advanced` hears how many rollouts are over."""
    rules: list[PointEstimateRule | None] = [None, *PointEstimateRule] if compare else [None]
    rows = [(rule, scenario) for rule in rules for scenario in scenarios]
    tasks = [
        (i, RolloutTask(scenario, plan, hold, rule, min(CHUNK, rollouts - start), (seed, i, start)))
        for i, (rule, scenario) in enumerate(rows)
        for start in range(0, rollouts, CHUNK)
    ]
    batches: list[list[RolloutBatch]] = [[] for _ in rows]
    for (i, task), batch in zip(
        tasks, in_processes(work, [t for _, t in tasks], processes), strict=True
    ):
        batches[i].append(batch)
        advanced(task.count)
    return [
        row(scenario, [p for b in found for p in b.played])
        if rule is None
        else point_estimate_row(rule, scenario, [d for b in found for d in b.delays])
        for (rule, scenario), found in zip(rows, batches, strict=True)
    ]


def in_processes(work: Callable[[T], R], tasks: Sequence[T], processes: int) -> Iterator[R]:
    """What `work` gives for each task, in their order."""
    if processes == 1:
        yield from map(work, tasks)
        return
    # Not forked: the caller draws its progress from a thread.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(work, tasks)
