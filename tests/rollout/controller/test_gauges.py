"""The rollout in the metrics: the reason, and the guardrail that rolled back."""

from __future__ import annotations

import pytest

from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from tests.support.rollout_fakes import RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def value(world, name, **labels):
    return world.metrics.registry.get_sample_value(name, labels)


async def test_every_guardrails_rollbacks_begin_at_zero(world):
    for name in (*GUARDRAIL_NAMES, "shadow"):
        assert 0 == value(world, "nextvec_guardrail_rollbacks_total", guardrail=name)


async def test_a_rollback_is_counted_for_its_guardrail_and_an_abort_for_none(world):
    await world.begin()
    await world.slow_ticks(10)
    assert 1 == value(world, "nextvec_rollout_reason_info", reason="guardrail_failed")
    rollbacks = {
        name: value(world, "nextvec_guardrail_rollbacks_total", guardrail=name)
        for name in GUARDRAIL_NAMES
    }
    assert 1 == sum(rollbacks.values()) == rollbacks["latency"]


async def test_the_reason_of_a_persons_abort_replaces_the_one_before(world):
    await world.begin()
    await world.controller.changes.abort(None, "operator")
    assert 1 == value(world, "nextvec_rollout_reason_info", reason="aborted")
    assert value(world, "nextvec_rollout_reason_info", reason="warmed_up") is None
    assert 0 == value(world, "nextvec_guardrail_rollbacks_total", guardrail="latency")


async def test_the_outlook_and_the_time_of_the_decision_follow_the_status(world):
    await world.controller.start()
    await world.tick()
    world.controller._executor.publish_gauges()
    assert 1 == value(world, "nextvec_rollout_outlook_info", outlook="idle")
    times = "nextvec_rollout_decision_timestamp_seconds"
    assert value(world, times, bound="deadline") is None
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    status = await world.tick()
    assert 1 == value(world, "nextvec_rollout_outlook_info", outlook=status["outlook"])
    assert value(world, "nextvec_rollout_outlook_info", outlook="idle") is None
    assert status["next"]["deadline_at"] == value(world, times, bound="deadline")


async def test_the_limits_are_those_of_the_plan_while_there_is_a_rollout(world):
    name = "nextvec_guardrail_ratio_limit"
    await world.controller.start()
    assert value(world, name, guardrail="latency") is None
    await world.begin()
    await world.tick()
    assert world.plan.ratio == value(world, name, guardrail="latency")


async def test_the_intervals_ends_are_those_of_the_status(world):
    await world.begin()
    status = await world.slow_ticks(2)
    interval = status["guardrails"][0]["interval"]
    ends = {
        end: value(world, "nextvec_guardrail_ratio_interval", guardrail="latency", end=end)
        for end in ("low", "high")
    }
    assert ends == {end: interval[end] for end in ends}
    assert ends["low"] is not None
