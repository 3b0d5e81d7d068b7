"""Traces of single rollouts."""

from __future__ import annotations

import json

import pytest

from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.evidence_trace import trace_rollouts, write
from simulation.latency_distribution import LognormalLatency
from simulation.scenario import Scenario

PLAN = RolloutPlan.model_validate({"steps": [{"weight": 20, "approval": True}]})
SCENARIOS = [Scenario(LognormalLatency(0.05, 0.5), ratio=r, horizon=600.0) for r in (1.0, 2.0)]


async def traces(seed=3):
    return await trace_rollouts(SCENARIOS, PLAN, hold=True, count=2, seed=seed)


async def test_evidence_against_a_slow_canary_grows_to_the_bound_and_ends_the_rollout():
    equal, _, slow, _ = await traces()
    assert (2.0, "rolled back") == (slow.ratio, slow.ending)
    assert slow.points[-1].log_fail >= slow.fail_bound > slow.points[-2].log_fail
    assert (1.0, "undecided") == (equal.ratio, equal.ending)
    assert max(point.log_fail for point in equal.points) < equal.fail_bound
    assert equal.points[-1].log_pass >= equal.pass_bound


async def test_requests_and_seconds_only_rise():
    for trace in await traces():
        for before, after in zip(trace.points, trace.points[1:], strict=False):
            assert before.seconds < after.seconds
            assert before.requests <= after.requests


@pytest.mark.slow
async def test_a_seed_gives_the_same_traces_which_are_written_as_json(tmp_path):
    made = await traces()
    assert made == await traces()
    assert made != await traces(seed=4)
    write(made, tmp_path / "new" / "traces.json")
    written = json.loads((tmp_path / "new" / "traces.json").read_text())
    assert [trace.ratio for trace in made] == [trace["ratio"] for trace in written]
    assert len(made[0].points) == len(written[0]["points"]) > 30
