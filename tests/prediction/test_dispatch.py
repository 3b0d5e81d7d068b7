"""A request's way: one decision, one record, and what counts as evidence."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.contexts.session_store import SessionStart
from service.errors import Conflict, EngineFault, Invalid, NotFound
from service.prediction.deadline import CallerDeadlineExceeded
from service.prediction.request import RequestOptions
from service.types import Variant
from tests.support.dispatch_world import ALL_CANARY, new_world
from tests.support.fakes import fault, unit_vectors


async def held_append(world):
    """A first append that holds the session and its engine, and a second that waits for it."""
    engine = world.registry.engines["phase-2"]
    engine.gate.clear()
    first = asyncio.create_task(world.append(unit_vectors(2)))
    await asyncio.to_thread(engine.entered.acquire)
    second = asyncio.create_task(world.append(unit_vectors(1, 1)))
    while world.sessions._new["s"].users < 2:
        await asyncio.sleep(0)
    return engine, first, second


async def test_appends_are_counted_by_their_mode():
    async with new_world() as world:
        await world.append(unit_vectors(3))
        await world.append(unit_vectors(2))
        await world.append(unit_vectors(1))
        assert world.counted() == {
            ("stable", "phase-2", mode, "ok"): 1 for mode in ("prefill", "mixed", "step")
        }


async def test_an_append_that_waited_follows_the_split_in_force_at_its_turn():
    """It moves the session, so it is no evidence."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        world.traffic.set(ALL_CANARY)
        engine.gate.set()
        assert (await first).route.version == "phase-2"
        moved = await second
        assert (moved.route.variant, moved.route.version) == (Variant.CANARY, "phase-3")
        vectors = np.concatenate([unit_vectors(2), unit_vectors(1, 1)])
        expected = world.registry.engines["phase-3"].expected(vectors)
        np.testing.assert_allclose(expected, moved.vector, atol=1e-6)
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("unassigned", "phase-3", "step", "ok"): 1,
        }


async def test_an_append_that_gives_up_while_it_waits_counts_under_its_first_decision():
    """The caller's own deadline is not the version's fault."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        with pytest.raises(CallerDeadlineExceeded) as raised:
            await world.append(unit_vectors(1, 2), options=RequestOptions(timeout_seconds=0.001))
        assert (raised.value.variant, raised.value.version) == ("stable", "phase-2")
        assert world.counted() == {("stable", "phase-2", "step", "cancelled"): 1}
        engine.gate.set()
        await asyncio.gather(first, second)


async def test_a_version_unloaded_while_the_append_waits_is_not_found():
    """The session stays as it was."""
    async with new_world() as world:
        engine, first, second = await held_append(world)
        del world.registry.versions["phase-2"]
        engine.gate.set()
        await first
        with pytest.raises(NotFound):
            await second
        assert (await world.dispatch.session("s")).length == 2
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("stable", "phase-2", "step", "invalid"): 1,
        }


async def test_a_repeat_is_no_evidence_and_runs_nothing():
    async with new_world() as world:
        made = await world.append(unit_vectors(2), position=0)
        world.traffic.set(ALL_CANARY)
        again = await world.append(unit_vectors(2), position=0)
        assert again.vector is made.vector
        assert again.route.version == "phase-2"
        with pytest.raises(Conflict):
            await world.append(unit_vectors(1), position=0)
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("unassigned", "phase-3", "mixed", "ok"): 1,
            ("unassigned", "phase-3", "step", "invalid"): 1,
        }
        assert world.registry.engines["phase-3"].batches == []


@pytest.mark.parametrize("begin", [SessionStart.IF_UNKNOWN, SessionStart.RESTART])
async def test_a_failed_append_leaves_the_session_unchanged(begin):
    async with new_world() as world:
        await world.append(unit_vectors(2))
        session = world.sessions.get("s")
        before = (session.length, session.states, session.last, session.version)
        world.registry.engines["phase-2"].faults.append(fault())
        with pytest.raises(EngineFault):
            await world.append(unit_vectors(3), begin=begin)
        assert before == (session.length, session.states, session.last, session.version)


async def test_a_request_for_an_unknown_version_is_not_counted():
    """A caller's text must not become a label."""
    async with new_world() as world:
        options = RequestOptions(version="any text")
        with pytest.raises(NotFound) as raised:
            await world.dispatch.predict(unit_vectors(2), options)
        assert raised.value.version is None
        assert world.counted() == {}


async def test_an_invalid_request_counts_and_names_who_was_to_answer():
    async with new_world() as world:
        with pytest.raises(Invalid) as raised:
            await world.dispatch.predict(unit_vectors(2)[:, :2], RequestOptions())
        assert raised.value.version == "phase-2"
        assert world.counted() == {("stable", "phase-2", "prefill", "invalid"): 1}


async def test_a_batch_counts_as_one_request():
    async with new_world() as world:
        contexts = [unit_vectors(3, seed) for seed in range(4)]
        predictions = await world.dispatch.predict_batch(contexts, RequestOptions())
        engine = world.registry.engines["phase-2"]
        for context, prediction in zip(contexts, predictions, strict=True):
            np.testing.assert_allclose(engine.expected(context), prediction.vector, atol=1e-6)
        assert world.counted() == {("stable", "phase-2", "prefill", "ok"): 1}
        assert world.dispatch.last_predictions == {"phase-2": world.clock.time()}
