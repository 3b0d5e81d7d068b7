"""A log line whenever the outlook changes, in the words of the status."""

from __future__ import annotations

import logging

import pytest

from tests.support.rollout_fakes import RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


def lines(caplog):
    return [r for r in caplog.records if r.name.endswith("outlook_log")]


async def test_each_change_is_a_line_with_the_headline(world, caplog):
    """Figures that move are no change; what needs attention is a warning."""
    caplog.set_level(logging.INFO)
    await world.begin()
    await world.healthy_ticks(1)
    while (status := await world.slow_ticks(1))["phase"] != "RolledBack":
        pass
    changes = [record.getMessage().split(": ")[1] for record in lines(caplog)]
    assert changes[0] == "idle -> preparing"
    assert "leaning_to_fail -> rolled_back" == changes[-1]
    assert len(set(changes)) == len(changes)
    last = lines(caplog)[-1]
    assert (logging.WARNING, True) == (last.levelno, status["headline"] in last.getMessage())


async def test_a_restart_is_no_change(world, caplog):
    await world.begin()
    caplog.clear()
    caplog.set_level(logging.INFO)
    await world.restart()
    assert [] == lines(caplog)
