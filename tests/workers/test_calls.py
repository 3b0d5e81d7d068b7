"""The calls of one read: answered each by itself, those of one session in order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.errors import Conflict, NotFound, NotReady, QueueFull
from service.prediction.request import Prediction, RequestOptions, SessionAppend
from service.workers import link as link_module
from service.workers.failures import EngineBugError
from tests.support.fakes import unit_vectors
from tests.workers.support import wait_until

PLAIN = RequestOptions()


async def test_appends_to_one_session_run_in_the_order_of_their_frames(linked):
    """All of them arrive before the first has run."""
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        vectors = unit_vectors(6)
        running = [
            asyncio.create_task(under_test.predictor.append("s", vectors[i : i + 1], PLAIN))
            for i in range(len(vectors))
        ]
        await wait_until(lambda: under_test.calls.running == len(vectors))
        engine.gate.set()
        found = await asyncio.gather(*running)
        assert list(range(1, 7)) == [each.length for each in found]
        np.testing.assert_allclose(engine.expected(vectors), found[-1].vector, rtol=1e-5)


async def test_an_append_does_not_get_between_those_that_wait_for_their_turn(linked, monkeypatch):
    """The second append waits in a task; when the first has ended, the session looks free."""
    async with linked() as under_test:
        vectors = unit_vectors(3)
        await under_test.predictor.append("s", vectors[:1], PLAIN)
        begin_append = under_test.services.dispatch.begin_append
        monkeypatch.setattr(
            under_test.services.dispatch, "begin_append", lambda *_args, **_options: None
        )
        second = asyncio.create_task(under_test.predictor.append("s", vectors[1:2], PLAIN))
        await wait_until(lambda: under_test.calls.running == 1)
        monkeypatch.setattr(under_test.services.dispatch, "begin_append", begin_append)
        third = asyncio.create_task(under_test.predictor.append("s", vectors[2:], PLAIN))
        assert [2, 3] == [each.length for each in await asyncio.gather(second, third)]


@pytest.mark.parametrize("first", [True, False])
async def test_a_caller_that_leaves_frees_its_session(linked, first):
    """Whether its append is in the engine or waits for its turn; the other one is answered."""
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        tasks = [
            asyncio.create_task(under_test.predictor.append("s", unit_vectors(1, i), PLAIN))
            for i in range(2)
        ]
        await wait_until(lambda: under_test.calls.running == 2)
        tasks.pop(0 if first else 1).cancel()
        await wait_until(lambda: under_test.calls.running == 1)
        engine.gate.set()
        assert (await tasks[0]).length == 1
        assert (await under_test.predictor.append("s", unit_vectors(1, 5), PLAIN)).length == 2


async def test_a_bug_in_an_append_is_logged_and_answered(linked, monkeypatch, caplog):
    async with linked() as under_test:
        monkeypatch.setattr(under_test.services.dispatch, "begin_append", None)
        options = RequestOptions(request_id="r-1")
        with pytest.raises(EngineBugError):
            await under_test.predictor.append("s", unit_vectors(1), options)
        assert "request r-1 failed" in caplog.text
        assert under_test.calls.running == 0


async def test_while_the_service_does_not_accept_an_append_is_refused(linked):
    async with linked() as under_test:
        under_test.services.accepting = False
        with pytest.raises(NotReady):
            await under_test.predictor.append("s", unit_vectors(1), PLAIN)
        under_test.services.accepting = True


def steps(*rows):
    return [SessionAppend(session, vectors, position) for session, vectors, position in rows]


async def test_a_group_is_answered_row_by_row(linked):
    """In the order of the rows; a failure is that row's alone."""
    async with linked() as under_test:
        vectors = unit_vectors(4)
        await under_test.predictor.append("old", vectors[:2], PLAIN)
        found = await under_test.predictor.append_each(
            steps(
                ("new", vectors[:1], 0),
                ("old", vectors[2:3], 9),
                ("new", vectors[1:2], 1),
                ("unknown", vectors[:1], 5),
            ),
            PLAIN,
        )
        assert [Prediction, Conflict, Prediction, NotFound] == [type(each) for each in found]
        assert {"position": 2} == found[1].details
        expected = under_test.engines["phase-2"].expected(vectors[:2])
        np.testing.assert_allclose(expected, found[2].vector, rtol=1e-5)
        assert (2, "phase-2") == (found[2].length, found[2].route.version)


async def test_a_large_group_travels_through_shared_memory(linked):
    async with linked(engine={"max_batch": 64}) as under_test:
        count = 5000
        vectors = unit_vectors(8)
        assert count * vectors[:1].nbytes >= link_module.IN_ARENA_BYTES
        rows = [(f"s{number}", vectors[number % 8 :][:1], 0) for number in range(count)]
        found = await under_test.predictor.append_each(steps(*rows), PLAIN)
        assert {1} == {each.length for each in found if isinstance(each, Prediction)}
        assert {Prediction} <= {type(each) for each in found} <= {Prediction, QueueFull}
        await wait_until(lambda: under_test.arena.taken == 0)


async def test_a_group_ends_when_its_caller_leaves(linked):
    async with linked() as under_test:
        engine = under_test.engines["phase-2"]
        engine.gate.clear()
        rows = steps(("a", unit_vectors(1), None), ("a", unit_vectors(1), None))
        running = asyncio.create_task(under_test.predictor.append_each(rows, PLAIN))
        await wait_until(lambda: under_test.calls.running == 1)
        await asyncio.to_thread(engine.entered.acquire)
        running.cancel()
        await wait_until(lambda: under_test.calls.running == 0)
        engine.gate.set()
        assert (await under_test.predictor.append("a", unit_vectors(1), PLAIN)).length == 1


async def test_a_bug_fails_the_group(linked, monkeypatch, caplog):
    async with linked() as under_test:
        monkeypatch.setattr(under_test.services.dispatch, "begin_append", None)
        with pytest.raises(EngineBugError):
            await under_test.predictor.append_each(
                steps(("s", unit_vectors(1), None)), RequestOptions(request_id="r-2")
            )
        assert "request r-2 failed" in caplog.text


async def test_nothing_travels_for_no_rows(linked):
    async with linked() as under_test:
        assert [] == await under_test.predictor.append_each([], PLAIN)
