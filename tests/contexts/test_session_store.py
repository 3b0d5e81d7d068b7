"""What every store of sessions does, in memory and on a server."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import SessionStart
from service.errors import CallerLimited, Conflict, EngineFault, Gone, NotFound
from service.prediction.request import RequestOptions
from tests.support.fakes import FakeClock, fault, unit_vectors
from tests.support.session_worlds import check, memory_replica, redis_replica

FLEETS = itertools.count()


@pytest.fixture(params=["memory", "redis-sync", "redis-async"])
async def replica(request):
    """One replica whose sessions live for a minute, or `short` if a test expires them."""
    if request.param == "memory":
        made = memory_replica()
    else:
        redis = request.getfixturevalue("redis")
        made = await redis_replica(
            redis.url, durability=request.param.removeprefix("redis-"), fleet=f"f{next(FLEETS)}"
        )
    yield made
    await made.close()


class ExpiringReplica:
    """A replica, and how to wait until its sessions have expired."""

    def __init__(self, replica, clock=None):
        self.replica = replica
        self.clock = clock

    async def expire(self, session_id):
        if self.clock is not None:
            self.clock.advance(61)
            return
        while True:  # by the server's clock
            try:
                await self.replica.store.read(session_id)
            except Gone:
                return


@pytest.fixture(params=["memory", "redis"])
async def expiring(request):
    if request.param == "memory":
        clock = FakeClock()
        made = ExpiringReplica(memory_replica(clock), clock)
    else:
        redis = request.getfixturevalue("redis")
        made = ExpiringReplica(
            await redis_replica(redis.url, ttl_seconds=0.15, fleet=f"f{next(FLEETS)}")
        )
    yield made
    await made.replica.close()


async def test_a_session_grows_and_predicts_as_its_whole_context(replica):
    """Also past the window and past what is kept of a session."""
    vectors = unit_vectors(100)
    position = 0
    for count in (3, 1, 1, 20, 1, 50, 1, 1, 22):
        answer = await replica.append("a", vectors[position : position + count], position)
        position += count
        check(answer, vectors[:position])
        assert answer.length == position
    assert await replica.length("a") == 100


async def test_a_session_begins_with_its_first_successful_append(replica):
    replica.engine.faults.append(fault())
    with pytest.raises(EngineFault):
        await replica.append("a", unit_vectors(2))
    with pytest.raises(NotFound):
        await replica.store.read("a")
    await replica.append("a", unit_vectors(2))
    assert await replica.length("a") == 2


async def test_a_position_past_zero_of_an_unknown_session_is_not_found(replica):
    """Its caller expects a context that does not exist."""
    with pytest.raises(NotFound):
        await replica.append("a", unit_vectors(1), 5)


async def test_a_repeat_of_the_last_append_is_answered_again(replica):
    """And stored once; any other mismatch names the true position."""
    vectors = unit_vectors(4)
    await replica.append("a", vectors[:3], 0)
    first = await replica.append("a", vectors[3:], 3)
    again = await replica.append("a", vectors[3:], 3)
    np.testing.assert_array_equal(first.vector, again.vector)
    assert again.length == 4 == await replica.length("a")
    for position in (0, 2, 3, 5):
        with pytest.raises(Conflict) as raised:
            await replica.append("a", unit_vectors(1, seed=9), position)
        assert raised.value.details == {"position": 4}


async def test_a_failed_append_leaves_the_session_unchanged(replica):
    vectors = unit_vectors(6)
    await replica.append("a", vectors[:3])
    replica.engine.faults.append(fault())
    with pytest.raises(EngineFault):
        await replica.append("a", unit_vectors(2, seed=9), 3)
    assert await replica.length("a") == 3
    check(await replica.append("a", vectors[3:], 3), vectors)


async def test_an_append_whose_caller_leaves_changes_nothing(replica):
    vectors = unit_vectors(4)
    await replica.append("a", vectors[:3])
    replica.engine.gate.clear()
    leaving = asyncio.create_task(replica.append("a", unit_vectors(1, seed=9), 3))
    while len(replica.engine.batches) < 2:  # the engine has begun
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    replica.engine.gate.set()
    check(await replica.append("a", vectors[3:], 3), vectors)


async def test_an_idle_session_expires_and_is_gone(expiring):
    """410 until its caller begins again at position 0."""
    replica = expiring.replica
    await replica.append("a", unit_vectors(2))
    await expiring.expire("a")
    for position in (None, 1, 2):
        with pytest.raises(Gone):
            await replica.append("a", unit_vectors(1), position)
    with pytest.raises(Gone):
        await replica.store.read("a")
    with pytest.raises(Gone):
        await replica.store.delete("a")
    again = unit_vectors(3, seed=5)
    check(await replica.append("a", again, 0), again)
    assert await replica.length("a") == 3


async def test_an_expired_session_can_restart(expiring):
    """Its caller knows that the context starts again."""
    replica = expiring.replica
    await replica.append("a", unit_vectors(2))
    await expiring.expire("a")
    again = unit_vectors(3, seed=5)
    check(await replica.append("a", again, begin=SessionStart.RESTART), again)


async def test_concurrent_first_appends_run_in_order_in_one_session(replica):
    """Also if the first append fails."""
    vectors = unit_vectors(3)
    replica.engine.faults.append(fault())
    tasks = [
        asyncio.create_task(replica.append("a", row[None])) for row in (vectors[2], *vectors[:2])
    ]
    failed, *answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, EngineFault)
    assert [answer.length for answer in answers] == [1, 2]
    check(answers[1], vectors[:2])


async def test_a_deleted_session_is_forgotten(replica):
    """Also by the appends that waited for it; its memory is freed."""
    await replica.append("a", unit_vectors(2))
    replica.engine.gate.clear()
    holding = asyncio.create_task(replica.append("a", unit_vectors(1)))
    while len(replica.engine.batches) < 2:
        await asyncio.sleep(0)
    deleting = asyncio.create_task(replica.store.delete("a"))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(replica.append("a", unit_vectors(1)))
    await asyncio.sleep(0)
    replica.engine.gate.set()
    await holding
    await deleting
    with pytest.raises(NotFound):
        await waiting
    assert (len(replica.store), replica.store.nbytes) == (0, 0)
    with pytest.raises(NotFound):
        await replica.store.read("a")
    with pytest.raises(NotFound):
        await replica.store.delete("a")


@pytest.mark.parametrize(
    ("begin", "there", "expected"),
    [
        (SessionStart.IF_UNKNOWN, False, 1),
        (SessionStart.IF_UNKNOWN, True, 4),
        (SessionStart.RESTART, False, 1),
        (SessionStart.RESTART, True, 1),
        (SessionStart.NEVER, False, NotFound),
        (SessionStart.NEVER, True, 4),
    ],
)
async def test_begin_decides_whether_an_append_may_begin_a_session(replica, begin, there, expected):
    vectors = unit_vectors(3)
    if there:
        await replica.append("a", vectors)
    if expected is NotFound:
        with pytest.raises(NotFound):
            await replica.append("a", unit_vectors(1), begin=begin)
        return
    assert (await replica.append("a", unit_vectors(1), begin=begin)).length == expected
    assert await replica.length("a") == expected


async def test_the_end_of_a_sequence_forgets_the_session(replica):
    """An append that waited for it can begin the session again, but not continue it."""
    vectors = unit_vectors(4)
    await replica.append("a", vectors[:3])
    replica.engine.gate.clear()
    ending = asyncio.create_task(replica.append("a", vectors[3:], end=True))
    while len(replica.engine.batches) < 2:
        await asyncio.sleep(0)
    waiting = [
        asyncio.create_task(replica.append("a", vectors[:1], begin=begin))
        for begin in (SessionStart.NEVER, SessionStart.RESTART)
    ]
    await asyncio.sleep(0)
    replica.engine.gate.set()
    check(await ending, vectors)
    late, restarted = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(late, NotFound)
    assert restarted.length == 1


async def test_a_session_belongs_to_the_owner_that_began_it(replica):
    """To others it does not exist."""
    mine, yours = SessionQuota("mine"), SessionQuota("yours")
    await replica.append("a", unit_vectors(2), owner=mine)
    for owner in (yours, None):
        with pytest.raises(NotFound):
            await replica.append("a", unit_vectors(1), owner=owner)
        with pytest.raises(NotFound):
            await replica.store.read("a", owner)
        with pytest.raises(NotFound):
            await replica.store.delete("a", owner)
    assert await replica.length("a", mine) == 2


async def test_an_owner_begins_no_more_sessions_than_it_may(replica):
    """Until it deletes one."""
    owner = SessionQuota("mine", max_sessions=2)
    for name in ("a", "b"):
        await replica.append(name, unit_vectors(2), owner=owner)
    with pytest.raises(CallerLimited):
        await replica.append("c", unit_vectors(2), owner=owner)
    await replica.append("a", unit_vectors(1), owner=owner)
    await replica.store.delete("a", owner)
    await replica.append("c", unit_vectors(2), owner=owner)


async def test_a_change_of_version_primes_the_session_from_its_vectors(replica):
    """And back."""
    vectors = unit_vectors(8)
    await replica.append("a", vectors[:6])
    moved = await replica.dispatch.append(
        "a", vectors[6:7], RequestOptions(version="phase-3"), position=6
    )
    check(moved, vectors[:7], decay=0.9)
    check(await replica.append("a", vectors[7:], 7), vectors)
