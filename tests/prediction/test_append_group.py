"""Appends that were asked for together: each answered by itself, those of a session in order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.errors import Conflict, EngineFault, Invalid, NotFound
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from tests.support.dispatch_world import new_world
from tests.support.fakes import fault, unit_vectors

PLAIN = RequestOptions()


def appends(*rows):
    return [SessionAppend(session, vectors, position) for session, vectors, position in rows]


async def test_each_is_answered_by_itself():
    """A stale position, an unknown session and a NaN fail alone."""
    async with new_world() as world:
        await world.append(unit_vectors(2), "old")
        found = await world.dispatch.append_each(
            appends(
                ("new", unit_vectors(1), 0),
                ("old", unit_vectors(1), 7),
                ("unknown", unit_vectors(1), 3),
                ("nan", np.full((1, 4), np.nan, np.float32), None),
                ("old", unit_vectors(1), 2),
            ),
            PLAIN,
        )
        assert [Prediction, Conflict, NotFound, Invalid, Prediction] == [
            type(each) for each in found
        ]
        assert (1, 3) == (found[0].length, found[4].length)


async def test_those_of_one_session_run_in_order():
    async with new_world() as world:
        vectors = unit_vectors(6)
        found = await world.dispatch.append_each(
            appends(*(("s", vectors[i : i + 1], i) for i in range(6))), PLAIN
        )
        assert list(range(1, 7)) == [each.length for each in found]
        engine = world.registry.engines["phase-2"]
        np.testing.assert_allclose(engine.expected(vectors), found[-1].vector, atol=1e-5)


async def test_a_fault_fails_the_batch_that_it_hits():
    async with new_world() as world:
        world.registry.engines["phase-2"].faults.append(fault())
        found = await world.dispatch.append_each(appends(("s", unit_vectors(1), 0)), PLAIN)
        assert [EngineFault] == [type(each) for each in found]


async def test_a_bug_is_raised_for_all():
    async with new_world() as world:
        world.sessions.keep = None
        with pytest.raises(TypeError):
            await world.dispatch.append_each(appends(("s", unit_vectors(1), 0)), PLAIN)


async def test_when_the_caller_leaves_all_of_them_end():
    """Those in the engine and those that wait for their turn."""
    async with new_world() as world:
        engine = world.registry.engines["phase-2"]
        engine.gate.clear()
        rows = appends(*((name, unit_vectors(1), None) for name in "aab"))
        running = asyncio.create_task(world.dispatch.append_each(rows, PLAIN))
        await asyncio.to_thread(engine.entered.acquire)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        engine.gate.set()
        await asyncio.sleep(0)
        assert world.counted() == {("stable", "phase-2", "step", "cancelled"): 3}
        assert not world.sessions._new


async def test_nothing_is_answered_for_nothing():
    async with new_world() as world:
        assert await world.dispatch.append_each([], PLAIN) == []
