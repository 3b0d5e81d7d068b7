"""The fields of the status that are not the outlook's."""

from __future__ import annotations

import pytest

from service.rollout.analysis.shadow_stats import ShadowStats
from tests.support.rollout_fakes import EDGES, SHADOWED, RolloutWorld


@pytest.fixture
def world(tmp_path):
    made = RolloutWorld(tmp_path / "nextvec.db")
    yield made
    made.store.close()


async def test_in_a_shadow_step_nobody_is_served_by_the_canary(world):
    """Copies that were dropped are counted from the first one on, in the warm-up too."""
    world.use(SHADOWED)
    await world.controller.start()
    await world.controller.changes.start("phase-3", None, "operator")
    await world.controller.prepared()
    world.shadow.ran(10)
    world.shadow.seen = world.shadow.seen.plus(ShadowStats(EDGES, dropped=4))
    status = await world.tick(10)
    assert 4 == status["shadow"]["copies"]["dropped"]
    world.shadow.ran(50)
    status = await world.tick()
    assert {"set_percent": 0.0, "actual_percent": 0.0} == status["weight"]
    assert (50, 4) == tuple(status["shadow"]["copies"][name] for name in ("answered", "dropped"))


async def test_the_weight_that_was_measured(world):
    await world.begin()
    status = await world.healthy_ticks(2)
    assert 10.0 == status["weight"]["set_percent"]
    assert 20 <= status["weight"]["actual_percent"] <= 60


async def test_who_made_the_last_transition_and_why(world):
    await world.begin()
    status = world.controller.status()
    assert ("controller", "") == (status["actor"], status["note"])
    status = await world.controller.changes.abort(None, "anna", "wrong version")
    assert ("anna", "wrong version") == (status["actor"], status["note"])
    await world.restart()
    status = world.controller.status()
    assert ("anna", "wrong version") == (status["actor"], status["note"])


async def test_each_guardrail_has_a_plain_verdict(world):
    """Both values, the difference with its limit, and how near each verdict is."""
    await world.begin()
    status = await world.healthy_ticks(1)
    by_name = {each["name"]: each for each in status["guardrails"]}
    latency = by_name["latency"]
    assert latency["difference"] == pytest.approx(latency["canary"] / latency["stable"])
    assert (latency["value_unit"], latency["limit"], latency["direction"]) == (
        "seconds",
        1.2,
        "at_most",
    )
    evidence = latency["log_evidence"]
    share = max(0.0, evidence["pass"] / evidence["pass_bound"])
    assert latency["progress"]["pass"] == pytest.approx(min(share, 0.99))
    assert latency["summary"].endswith("of the evidence for a pass.")
    errors = by_name["errors"]
    assert (0.0, 1.0, "points") == (
        errors["difference"],
        errors["limit"],
        errors["difference_kind"],
    )
    assert ("no_data", None, "at_least") == tuple(
        by_name["quality"][name] for name in ("standing", "difference", "direction")
    )
    assert {"must_pass", "can_roll_back"} == {each["effect"] for each in status["guardrails"]}
    assert by_name["interference"]["standing"] in {"watching", "no_data"}
    assert all(each["summary"].endswith(".") for each in status["guardrails"])
    assert all("ln E" not in each["summary"] for each in status["guardrails"])
