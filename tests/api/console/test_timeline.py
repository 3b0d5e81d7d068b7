"""The console's past minutes: percentiles and rates over a window, bounded, per version."""

from __future__ import annotations

import pytest

from service.api.console.timeline import MAX_POINTS, WINDOW_SECONDS, Timeline
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from tests.support.rollout_fakes import FakeEvidence, SteppingClock

INTERVAL = 5.0


class TimelineWorld:
    """A timeline over counters, traffic and a clock that the test sets."""

    def __init__(self):
        self.evidence = FakeEvidence()
        self.traffic = TrafficRouter(TrafficSplit("phase-2"))
        self.clock = SteppingClock()
        self.timeline = Timeline(self.evidence, self.traffic, self.clock, INTERVAL)

    async def observe(self, **served):
        self.clock.now += INTERVAL
        self.evidence.serve(**served)
        await self.timeline.observe()
        return self.timeline.to_json()["points"][-1]


@pytest.fixture
def world():
    return TimelineWorld()


async def test_a_first_point_has_no_figures(world):
    point = await world.observe(stable=[0.1] * 10)
    assert (0.0, None) == (point["weight_percent"], point["canary"])
    assert {None} == set(point["stable"].values())


async def test_a_point_has_rate_and_percentiles_since_the_window_began(world):
    world.traffic.set(TrafficSplit("phase-2", "phase-3", 2500, "salt"))
    await world.observe()
    point = await world.observe(stable=[0.1] * 90 + [0.4] * 10, canary=[0.2] * 50)
    assert 25.0 == point["weight_percent"]
    assert (20.0, 10.0) == (
        point["stable"]["requests_per_second"],
        point["canary"]["requests_per_second"],
    )
    assert pytest.approx(0.1, rel=0.1) == point["stable"]["p50_seconds"]
    assert pytest.approx(0.4, rel=0.1) == point["stable"]["p95_seconds"]
    assert pytest.approx(0.2, rel=0.1) == point["canary"]["p99_seconds"]


async def test_what_is_older_than_the_window_is_forgotten(world):
    await world.observe()
    await world.observe(stable=[0.4] * 100)
    for _ in range(int(WINDOW_SECONDS / INTERVAL)):
        point = await world.observe(stable=[0.1] * 10)
    assert pytest.approx(0.1, rel=0.1) == point["stable"]["p99_seconds"]
    assert 2.0 == point["stable"]["requests_per_second"]


async def test_another_canary_begins_a_new_window(world):
    """Counts of two versions must not be subtracted from each other."""
    await world.observe()
    world.traffic.set(TrafficSplit("phase-2", "phase-3", 500, "salt"))
    point = await world.observe(stable=[0.1] * 10, canary=[0.1] * 10)
    assert {None} == set(point["canary"].values())
    world.traffic.set(TrafficSplit("phase-2"))
    assert (await world.observe())["canary"] is None


async def test_a_reader_gets_what_is_new(world):
    for _ in range(3):
        await world.observe()
    points = world.timeline.to_json()["points"]
    assert points[1:] == world.timeline.to_json(points[0]["at"])["points"]


async def test_the_number_of_points_is_bounded(world):
    for _ in range(MAX_POINTS + 10):
        await world.observe()
    assert MAX_POINTS == len(world.timeline.to_json()["points"])
