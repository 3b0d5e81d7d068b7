"""A simulated rollout runs on the code of the service."""

from __future__ import annotations

import numpy as np
import pytest

import simulation.rollout_simulation
from service.rollout.controller import analysis_run, canary_loader, executor, ticker
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state import change
from simulation.latency_distribution import LognormalLatency
from simulation.rollout_simulation import RolloutEnding, simulate_rollout
from simulation.scenario import Scenario, SimulatedTraffic
from simulation.simulated_source import SimulatedSource

LATENCY = LognormalLatency(0.05, 0.5)
ONE = RolloutPlan.model_validate({"steps": [{"weight": 5, "approval": True}]})
QUICK = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 20, "min_dwell_seconds": 30, "min_samples": 100},
            {"weight": 50, "min_dwell_seconds": 30, "min_samples": 100},
            {"weight": 100, "min_dwell_seconds": 30, "min_samples": 100, "approval": True},
        ]
    }
)


async def simulate(plan=ONE, *, hold=True, seed=1, **how):
    scenario = Scenario(LATENCY, **how)
    rng = np.random.default_rng(seed)
    return await simulate_rollout(scenario, SimulatedTraffic.of(scenario), plan, rng, hold=hold)


def test_traffic_is_the_distribution_at_the_rate():
    traffic = SimulatedTraffic.of(Scenario(LATENCY, ratio=2.0, error_rate=0.1, rate=40.0))
    assert 40.0 == pytest.approx(traffic.stable[0].sum()) == traffic.canary[0].sum()
    assert 4.0 == pytest.approx(traffic.canary[0][-1])
    assert 0.0 == pytest.approx(traffic.stable[0][-1])
    middle = np.searchsorted(traffic.edges, 0.1)
    assert 18.0 == pytest.approx(traffic.canary[0][: middle + 1].sum(), rel=0.2)


def test_a_request_beyond_the_deadline_is_a_fault():
    traffic = SimulatedTraffic.of(Scenario(LognormalLatency(1000.0, 0.5)))
    assert 50.0 == pytest.approx(traffic.stable[0][-1])


def test_load_drifts_by_the_factor_and_the_rate_ramps():
    scenario = Scenario(LATENCY, drift=2.0, ramp=3.0)
    traffic = SimulatedTraffic.of(scenario)
    slow = traffic.stable[60][:-1].cumsum() / traffic.stable[60].sum()
    assert 0.1 == pytest.approx(traffic.edges[np.searchsorted(slow, 0.5)], rel=0.1)
    assert 150.0 == pytest.approx(traffic.stable[239].sum(), rel=0.01)


async def test_the_counters_draw_both_arms_by_weight():
    counters = SimulatedSource(SimulatedTraffic.of(Scenario(LATENCY)), np.random.default_rng(0))
    counters.serve(0, 1000.0, 0.2)
    (arms,) = (await counters.read("stable", "canary")).counters.requests.values()
    assert (40_000, 10_000) == pytest.approx((arms.stable.total, arms.canary.total), rel=0.05)


async def test_an_identical_canary_goes_through_the_plan_to_promotion():
    """Approvals are given at once; the step at 100 % has nothing to pass."""
    found = await simulate(QUICK, hold=False)
    assert RolloutEnding.PROMOTED is found.ending
    assert 2 == len(found.passes)
    assert found.delay is None
    assert 75 + 30 * 3 < found.at < 3600


async def test_a_held_weight_is_never_left():
    """The pass is noted, and the guardrails are still evaluated."""
    found = await simulate()
    assert (RolloutEnding.UNDECIDED, 3600.0) == (found.ending, found.at)
    assert len(found.passes) == 1
    assert found.passes[0] is not None


async def test_a_slow_canary_is_rolled_back_by_the_services_own_verdict():
    """The warm-up, which includes the settling, is not judged: 60 s, then two analysis runs."""
    found = await simulate(ratio=5.0)
    assert RolloutEnding.ROLLED_BACK is found.ending
    assert 60 <= found.judged_from < 90
    assert 30.0 == pytest.approx(found.delay)
    assert (None,) == found.passes


async def test_faults_are_judged_from_the_first_analysis():
    found = await simulate(error_rate=0.5)
    assert RolloutEnding.ROLLED_BACK is found.ending
    assert 0 == found.judged_from, "the counters are read before the canary's first request"
    assert found.delay <= 30


@pytest.mark.slow
async def test_a_slow_device_is_found_by_stables_past():
    """Both arms are four times as slow with the canary as before it."""
    assert RolloutEnding.ROLLED_BACK is (await simulate(slowdown=4.0)).ending
    assert RolloutEnding.UNDECIDED is (await simulate(slowdown=2.0)).ending


async def test_a_short_stall_of_the_canary_is_tolerated():
    assert RolloutEnding.UNDECIDED is (await simulate(stall=4.0)).ending


async def test_a_request_in_a_stall_waits_for_its_end():
    traffic = SimulatedTraffic.of(Scenario(LATENCY, stall=10.0))
    assert 1.0 == pytest.approx(traffic.stalled.sum())
    waits = traffic.stalled[:-2].cumsum()
    assert 0.5 == pytest.approx(waits[np.searchsorted(traffic.edges, 5.0)], rel=0.1)
    counters = SimulatedSource(traffic, np.random.default_rng(0))
    counters.serve(0, 1000.0, 0.5, stalled=500.0)
    (arms,) = (await counters.read("stable", "canary")).counters.requests.values()
    slow = np.searchsorted(traffic.edges, 1.0)
    assert 0.45 == pytest.approx(arms.canary.slower_than(slow) / arms.canary.total, rel=0.05)
    assert arms.stable.slower_than(slow) / arms.stable.total < 0.001


async def test_the_same_seed_is_the_same_rollout():
    assert await simulate(ratio=1.5, seed=7) == await simulate(ratio=1.5, seed=7)


def test_the_simulator_and_the_service_decide_with_the_same_functions():
    assert simulation.rollout_simulation.apply is executor.apply is change.apply
    assert (
        simulation.rollout_simulation.run_analysis
        is ticker.run_analysis
        is analysis_run.run_analysis
    )
    assert (
        simulation.rollout_simulation.start_analysis
        is canary_loader.start_analysis
        is analysis_run.start_analysis
    )
