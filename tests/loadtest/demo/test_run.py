"""An act approves its steps, stops at the end of the rollout, and gives up in time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from loadtest.demo import run
from loadtest.demo.environment import EnvironmentSetupError
from loadtest.demo.run import ActRun
from loadtest.demo.scenario import ACTS
from loadtest.rollout_client import AdminError, parse_sample
from tests.support.rollout_status import status

PAUSED = {"phase": "Paused", "reason": "approval"}
DONE = {"phase": "Healthy", "stable": "phase-3", "generation": 9}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Polls do not wait."""
    monkeypatch.setattr(run, "_POLL_SECONDS", 0.0)


@dataclass
class RecordingDriver:
    """A driver whose time advances by a second at each reading."""

    time: float = 0.0

    def now(self):
        self.time += 1.0
        return self.time


@dataclass
class FakeAdmin:
    """Records the generations that it promotes. With `generation`, the rollout has that one."""

    promoted: list[int] = field(default_factory=list)
    generation: int | None = None

    async def promote(self, generation):
        self.promoted.append(generation)
        if self.generation is not None:
            raise AdminError("status 412")
        return parse_sample(status(generation=generation + 1), 0.0)

    async def status(self):
        return parse_sample(status(**{**DONE, "generation": self.generation}), 0.0)


@dataclass
class FakeServer:
    """Ends at the given check."""

    checks: int = 1000

    def check(self):
        self.checks -= 1
        if self.checks < 0:
            raise EnvironmentSetupError("the server ended")


async def follow(statuses, seconds=1000.0, server=None, admin=None):
    """Follow a rollout that started at generation 3; each poll sees the next status."""
    act_run = ActRun(ACTS[1], RecordingDriver(), unloaded_latency=0.1, rate=5.0)
    admin = admin or FakeAdmin()
    remaining = [parse_sample(status(**changes), 0.0) for changes in statuses]

    def show(_):
        if remaining:
            act_run.samples.append(remaining.pop(0))

    await run._follow_rollout(act_run, admin, 3, seconds, server or FakeServer(), show)
    return act_run, admin


async def test_a_paused_step_is_approved_and_the_end_is_awaited():
    act_run, admin = await follow([{}, PAUSED, {"generation": 4}, DONE])
    assert [3] == admin.promoted
    assert "Healthy" == act_run.latest.phase
    assert [] == act_run.problems


async def test_a_step_that_somebody_else_has_approved_is_no_problem():
    """A person in the console was faster."""
    act_run, _ = await follow([{}, PAUSED], admin=FakeAdmin(generation=9))
    assert ("Healthy", []) == (act_run.latest.phase, act_run.problems)


async def test_a_refused_approval_ends_the_demo():
    with pytest.raises(AdminError, match="412"):
        await follow([{}, PAUSED], admin=FakeAdmin(generation=3))


async def test_a_person_may_pause_and_resume():
    act_run, _ = await follow([{}, {"phase": "Paused", "reason": "by_hand"}, {}, DONE])
    assert ("Healthy", []) == (act_run.latest.phase, act_run.problems)


async def test_a_pause_for_another_reason_ends_the_act():
    """It would not continue by itself."""
    act_run, admin = await follow([{}, {"phase": "Paused", "reason": "no_data"}])
    assert [] == admin.promoted
    assert "no_data" == act_run.latest.reason


async def test_a_rollout_that_does_not_end_in_time_is_a_problem():
    act_run, _ = await follow([{}], seconds=20.0)
    (problem,) = act_run.problems
    assert problem.startswith("the rollout did not end within 20 s at 5.0 requests/s")
    assert "a single request takes 100 ms here" in problem


async def test_a_server_that_ends_stops_the_act():
    with pytest.raises(EnvironmentSetupError, match="the server ended"):
        await follow([{}], server=FakeServer(checks=2))
