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
from simulation import rivals
from simulation.outcomes import Row, rival_row, row
from simulation.play import Played, play
from simulation.rivals import Rival
from simulation.scenario import Scenario, Traffic

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 20
"""Rollouts a task; each task has a random stream of its own."""


@dataclass(frozen=True, slots=True)
class Task:
    """Some rollouts of one scenario: the service's for no `rival`."""

    scenario: Scenario
    plan: RolloutPlan
    hold: bool
    rival: Rival | None
    count: int
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a task gave: `played` by the service, `delays` by a rival (None: no rollback)."""

    played: tuple[Played, ...] = ()
    delays: tuple[float | None, ...] = ()


def work(task: Task) -> Batch:
    """Play one task. Runs in a process of its own."""
    traffic = Traffic.of(task.scenario)
    rng = np.random.default_rng(task.seed)
    if task.rival is not None:
        return Batch(
            delays=tuple(
                rivals.play(task.rival, task.scenario, traffic, task.plan, rng)
                for _ in range(task.count)
            )
        )
    return Batch(played=tuple(asyncio.run(_several(task, traffic, rng))))


async def _several(task: Task, traffic: Traffic, rng: np.random.Generator) -> list[Played]:
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
) -> list[Row]:
    """A row for each scenario and rule. `advanced` hears how many rollouts are over."""
    rules: list[Rival | None] = [None, *Rival] if compare else [None]
    rows = [(rule, scenario) for rule in rules for scenario in scenarios]
    tasks = [
        (i, Task(scenario, plan, hold, rule, min(CHUNK, rollouts - start), (seed, i, start)))
        for i, (rule, scenario) in enumerate(rows)
        for start in range(0, rollouts, CHUNK)
    ]
    batches: list[list[Batch]] = [[] for _ in rows]
    for (i, task), batch in zip(
        tasks, in_processes(work, [t for _, t in tasks], processes), strict=True
    ):
        batches[i].append(batch)
        advanced(task.count)
    return [
        row(scenario, [p for b in found for p in b.played])
        if rule is None
        else rival_row(rule, scenario, [d for b in found for d in b.delays])
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
