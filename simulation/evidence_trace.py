"""How the evidence of single rollouts grows, run by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson

from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.record import RolloutRecord
from simulation.rollout_simulation import simulate_rollout
from simulation.scenario import Scenario, SimulatedTraffic

GUARDRAIL = "latency"
"""The guardrail whose evidence is kept."""


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """The evidence after one analysis run.

    `seconds` since the canary's first request; `requests` of the canary that were judged in this
    step; `log_fail` and `log_pass` are ln E; `ratio` is the point estimate of the P95s' ratio.
    """

    seconds: float
    requests: int
    log_fail: float
    log_pass: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class EvidenceTrace:
    """One rollout of a canary whose latencies are `ratio` times stable's."""

    ratio: float
    ending: str
    fail_bound: float
    pass_bound: float
    points: tuple[EvidencePoint, ...]


async def trace_rollouts(
    scenarios: Sequence[Scenario], plan: RolloutPlan, *, hold: bool, count: int, seed: int
) -> list[EvidenceTrace]:
    """`count` rollouts of each scenario, in the order of the scenarios.

    The same seed gives the same traces.
    """
    return [
        await _trace(scenario, plan, np.random.default_rng((seed, i, number)), hold=hold)
        for i, scenario in enumerate(scenarios)
        for number in range(count)
    ]


def write(traces: Sequence[EvidenceTrace], path: Path) -> None:
    """Write the traces as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps([asdict(trace) for trace in traces]))


async def _trace(
    scenario: Scenario, plan: RolloutPlan, rng: np.random.Generator, *, hold: bool
) -> EvidenceTrace:
    points: list[EvidencePoint] = []
    bounds = (0.0, 0.0)

    def observe(seconds: float, record: RolloutRecord) -> None:
        nonlocal bounds
        verdicts = record.assessment.verdicts if record.assessment is not None else ()
        for verdict in verdicts:
            if verdict.name != GUARDRAIL:
                continue
            bounds = (verdict.fail_bound, verdict.pass_bound)
            points.append(
                EvidencePoint(
                    seconds, verdict.canary, verdict.log_fail, verdict.log_pass, verdict.ratio
                )
            )

    ended = await simulate_rollout(
        scenario, SimulatedTraffic.of(scenario), plan, rng, hold=hold, observe=observe
    )
    return EvidenceTrace(scenario.ratio, ended.ending.value, *bounds, tuple(points))
