"""The client with `await`: the operations are those of the other client."""

from __future__ import annotations

import asyncio
import inspect

import numpy as np
import pytest

from nextvec import async_client, async_rollout_calls, client, rollout_calls
from nextvec.errors import OverloadError
from tests.support.client_service import (
    DIM,
    FakeTime,
    InMemoryService,
    async_client_of,
    expected_prediction,
)

ROWS = np.arange(40, dtype=np.float32).reshape(10, DIM) + 1


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [
        (client.Client, async_client.AsyncClient),
        (client.ClientSession, async_client.AsyncClientSession),
        (rollout_calls.RolloutCalls, async_rollout_calls.AsyncRolloutCalls),
    ],
)
def test_both_clients_have_the_same_methods(blocking, awaited):
    """The same names, parameters, defaults and texts."""

    def methods(kind):
        return {
            name: (list(inspect.signature(found).parameters.values()), inspect.getdoc(found))
            for name, found in vars(kind).items()
            if inspect.isfunction(found) and not name.startswith("_")
        }

    def comparable(found):
        return {
            name: ([(p.name, p.default, p.kind) for p in parameters], text)
            for name, (parameters, text) in found.items()
        }

    assert comparable(methods(blocking)) == comparable(methods(awaited))


async def test_a_session_survives_losses():
    service, clock = InMemoryService(), FakeTime()
    async with async_client_of(service, clock) as client:
        session = client.session("a")
        await session.append(ROWS[:4])
        service.faults.extend(["lost_answer", "busy", "restart"])
        prediction = await session.append(ROWS[4])
        np.testing.assert_array_equal(expected_prediction(ROWS[:5]), prediction.vector)
        service.restart()
        (result,) = await client.steps([session], ROWS[5:6])
        np.testing.assert_array_equal(expected_prediction(ROWS[:6]), result.unwrap())
        assert 6 == session.length
    assert 1.0 in clock.waits


async def test_appends_of_several_tasks_follow_one_another():
    service = InMemoryService()
    async with async_client_of(service) as client:
        session = client.session("a")
        await asyncio.gather(*(session.append(row) for row in ROWS))
    assert ROWS.tolist() == [row.tolist() for row in service.sessions["a"]]


async def test_a_cancelled_append_may_be_followed_by_another():
    """Nobody knows whether it arrived; the session holds only what the caller appended."""
    service = InMemoryService()
    client = async_client_of(service)
    session = client.session("a")
    await session.append(ROWS[0])
    sent = asyncio.Event()

    async def hang(_wanted):
        service.append("a", ROWS[1:2], 1)  # it arrives, and the answer does not
        sent.set()
        await asyncio.Event().wait()

    answer, client._run._perform = client._run._perform, hang
    task = asyncio.create_task(session.append(ROWS[1]))
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    client._run._perform = answer
    prediction = await session.append(ROWS[2])
    np.testing.assert_array_equal(expected_prediction(ROWS[[0, 2]]), prediction.vector)
    assert 2 == session.length


async def test_the_other_calls():
    service = InMemoryService()
    async with async_client_of(service, max_retries=0) as client:
        prediction = await client.predict(ROWS)
        assert [True, False] == [await client.feedback(prediction, ROWS[0]) for _ in range(2)]
        session = client.session("a")
        await session.restart(ROWS[:2])
        assert 2 == (await session.info()).length
        await session.delete()
        service.faults.append("busy")
        with pytest.raises(OverloadError):
            await client.with_options(timeout=1).predict(ROWS)
        assert "AsyncClient(url='http://service'" in repr(client)
