"""Appends that go to the engine without a task of their own."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.contexts.session_store import SessionStart
from service.errors import DeadlineExceeded, EngineFault, Invalid, NotFound
from service.observability import request_scope
from service.prediction.deadline import CallerDeadlineExceeded
from service.prediction.request import RequestOptions
from tests.support.dispatch_world import ALL_CANARY, new_world
from tests.support.fakes import fault, unit_vectors

PLAIN = RequestOptions()


def begin(world, vectors, session_id="s", options=PLAIN, **more):
    """Begin an append; return it and the future of its outcome."""
    outcome = asyncio.get_running_loop().create_future()
    return world.dispatch.begin_append(
        session_id, vectors, options, outcome.set_result, **more
    ), outcome


async def held(world, vectors, **more):
    """An append that the engine is running, and will not finish."""
    engine = world.registry.engines["phase-2"]
    engine.gate.clear()
    append, outcome = begin(world, vectors, **more)
    await asyncio.to_thread(engine.entered.acquire)
    return engine, append, outcome


async def test_an_append_is_answered_committed_and_counted():
    async with new_world() as world:
        vectors = unit_vectors(2)
        append, outcome = begin(world, vectors)
        prediction = await outcome
        np.testing.assert_allclose(
            world.registry.engines["phase-2"].expected(vectors), prediction.vector, atol=1e-6
        )
        assert (2, "phase-2", True) == (prediction.length, prediction.route.version, append.done())
        assert world.counted() == {("stable", "phase-2", "prefill", "ok"): 1}
        assert (await world.dispatch.session("s")).length == 2


async def test_an_append_that_ends_its_session_forgets_it():
    async with new_world() as world:
        _, outcome = begin(world, unit_vectors(2), end=True)
        assert (await outcome).length == 2
        with pytest.raises(NotFound):
            await world.dispatch.session("s")


async def test_a_session_in_use_makes_it_wait():
    """Then nothing has happened, and the usual way is open."""
    async with new_world() as world:
        engine, _, outcome = await held(world, unit_vectors(2))
        second, _ = begin(world, unit_vectors(1, 1))
        assert second is None
        waiting = asyncio.create_task(world.append(unit_vectors(1, 1)))
        await asyncio.sleep(0)
        engine.gate.set()
        assert (2, 3) == ((await outcome).length, (await waiting).length)
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("stable", "phase-2", "step", "ok"): 1,
        }


async def test_another_position_than_the_sessions_takes_the_usual_way():
    async with new_world() as world:
        await world.append(unit_vectors(2))
        append, _ = begin(world, unit_vectors(2), position=0)
        assert append is None
        assert not world.sessions.get("s").lock.locked()
        assert (await world.append(unit_vectors(2), position=0)).length == 2


async def test_a_session_that_moves_is_no_evidence():
    async with new_world() as world:
        await world.append(unit_vectors(2))
        world.traffic.set(ALL_CANARY)
        _, outcome = begin(world, unit_vectors(1, 1))
        assert (await outcome).route.version == "phase-3"
        assert world.counted() == {
            ("stable", "phase-2", "prefill", "ok"): 1,
            ("unassigned", "phase-3", "step", "ok"): 1,
        }


@pytest.mark.parametrize("first", [SessionStart.IF_UNKNOWN, SessionStart.RESTART])
async def test_a_fault_is_answered_and_leaves_the_session_as_it_was(first):
    async with new_world() as world:
        await world.append(unit_vectors(2))
        world.registry.engines["phase-2"].faults.append(fault())
        _, outcome = begin(world, unit_vectors(1, 1), begin=first)
        error = await outcome
        assert isinstance(error, EngineFault)
        assert (error.variant, error.version) == ("stable", "phase-2")
        session = world.sessions.get("s")
        assert (2, False, 0) == (session.length, session.lock.locked(), session.users)


@pytest.mark.parametrize(
    ("vectors", "more", "error"),
    [
        (np.full((1, 4), np.nan, np.float32), {}, Invalid),
        (unit_vectors(1), {"position": 3}, NotFound),
        (unit_vectors(1), {"begin": SessionStart.NEVER}, NotFound),
    ],
)
async def test_what_is_refused_raises_and_is_counted(vectors, more, error):
    async with new_world() as world:
        with pytest.raises(error):
            begin(world, vectors, **more)
        assert world.counted() == {("stable", "phase-2", "step", "invalid"): 1}
        assert not world.sessions._new


async def test_a_cancelled_append_has_no_answer_and_changes_nothing():
    """Its session is free at once, although the engine still runs it."""
    async with new_world() as world:
        engine, append, outcome = await held(world, unit_vectors(2))
        append.cancel()
        append.cancel()
        assert append.done()
        assert world.counted() == {("stable", "phase-2", "prefill", "cancelled"): 1}
        engine.gate.set()
        assert (await world.append(unit_vectors(1))).length == 1
        assert not outcome.done()


async def test_an_append_cancelled_in_the_queue_never_reaches_the_engine():
    async with new_world() as world:
        engine, _, first = await held(world, unit_vectors(1), session_id="other")
        append, _ = begin(world, unit_vectors(1))
        append.cancel()
        engine.gate.set()
        await first
        await world.append(unit_vectors(1), "third")
        assert [[1], [1]] == engine.batches


@pytest.mark.parametrize(
    ("seconds", "error"), [(0.001, CallerDeadlineExceeded), (None, DeadlineExceeded)]
)
async def test_at_its_deadline_it_is_answered_with_an_error(seconds, error):
    """Waiting before the call counts as well."""
    async with new_world() as world:
        late = RequestOptions(timeout_seconds=seconds, waited_seconds=1000.0)
        engine = world.registry.engines["phase-2"]
        engine.gate.clear()
        append, outcome = begin(world, unit_vectors(2), options=late)
        assert type(await outcome) is error
        assert append.done()
        engine.gate.set()
        assert (await world.append(unit_vectors(1))).length == 1


async def test_an_error_of_the_commit_reaches_the_caller():
    async with new_world() as world:
        world.sessions.keep = None
        _, outcome = begin(world, unit_vectors(2))
        assert isinstance(await outcome, TypeError)
        assert world.counted() == {("stable", "phase-2", "prefill", "error"): 1}


async def test_exemplars_are_those_of_the_request():
    """The outcome comes from another thread, which has no request."""
    async with new_world() as world:
        with request_scope.entered({"exemplar": {"trace_id": "abc"}}):
            _, outcome = begin(world, unit_vectors(1))
        await outcome
        series = world.metrics.request_duration.labels("stable", "phase-2", "step")
        assert [{"trace_id": "abc"}] == [each.labels for each in series.exemplars.values()]
