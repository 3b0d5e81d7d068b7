"""Which sessions are kept, for how long, and within how much memory."""

from __future__ import annotations

import asyncio

import pytest

from service.contexts.memory_store import MemorySessionStore
from service.contexts.session_store import SessionStart
from service.errors import Gone, NotFound
from tests.support.fakes import DIM, FakeClock, unit_vectors


def store_of(clock=None, **limits):
    settings = {"max_bytes": 10**6, "ttl_seconds": 60, "history_vectors": 8, "dim": DIM, **limits}
    return MemorySessionStore(clock or FakeClock(), **settings)


async def append(store, session_id, count=1, position=None):
    async with store.use(session_id, position) as session:
        session.history.append(unit_vectors(count))
        session.length += count
        store.keep(session)


async def test_an_unknown_session_begins_at_its_first_append():
    """Not before the append has succeeded."""
    store = store_of()
    async with store.use("a", None):
        pass
    with pytest.raises(NotFound):
        store.get("a")
    await append(store, "a", 3)
    assert store.get("a").length == 3


async def test_a_position_past_zero_of_an_unknown_session_is_not_found():
    """Its caller expects a context that does not exist."""
    store = store_of()
    with pytest.raises(NotFound):
        await append(store, "a", position=5)


async def test_an_idle_session_expires_and_is_gone():
    """410 until its caller begins again at position 0."""
    clock = FakeClock()
    store = store_of(clock, ttl_seconds=60)
    await append(store, "a")
    clock.advance(59)
    store.get("a")
    clock.advance(2)
    for position in (None, 1):
        with pytest.raises(Gone):
            await append(store, "a", position=position)
    await append(store, "a", position=0)
    assert store.get("a").length == 1


async def test_the_least_recently_used_session_is_evicted_over_the_budget():
    """Only an append counts as a use."""
    store = store_of(max_bytes=3 * 2200)
    for name in ("a", "b", "a", "c", "d"):
        await append(store, name)
    with pytest.raises(Gone):
        store.get("b")
    assert [store.get(name).length for name in ("a", "c", "d")] == [2, 1, 1]
    assert store.nbytes <= 3 * 2200


async def test_a_session_in_use_is_never_evicted():
    """Neither for its age nor for memory."""
    clock = FakeClock()
    store = store_of(clock, max_bytes=2200)
    await append(store, "a")
    async with store.use("a", None):
        clock.advance(10**6)
        await append(store, "b")
        assert store.get("a").length == 1


async def test_concurrent_first_appends_run_in_order_in_one_session():
    """They share the session before it is stored, also if the first append fails."""
    store = store_of()
    order = []

    async def one(number, *, fails):
        async with store.use("a", None) as session:
            await asyncio.sleep(0)
            order.append((number, session.length))
            if fails:
                raise ValueError
            session.length += 1
            store.keep(session)

    tasks = [asyncio.create_task(one(i, fails=i == 0)) for i in range(3)]
    await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [(0, 0), (1, 0), (2, 1)]
    assert store.get("a").length == 2


async def test_a_deleted_session_is_forgotten():
    """Also by the appends that waited for it; its memory is freed."""
    store = store_of()
    await append(store, "a")
    async with store.use("a", None):
        deleting = asyncio.create_task(store.delete("a"))
        waiting = asyncio.create_task(append(store, "a"))
        await asyncio.sleep(0)
    await deleting
    with pytest.raises(NotFound):
        await waiting
    assert (len(store), store.nbytes) == (0, 0)


@pytest.mark.parametrize(
    ("begin", "there", "expected"),
    [
        (SessionStart.IF_UNKNOWN, False, 0),
        (SessionStart.IF_UNKNOWN, True, 3),
        (SessionStart.RESTART, False, 0),
        (SessionStart.RESTART, True, 3),
        (SessionStart.NEVER, False, NotFound),
        (SessionStart.NEVER, True, 3),
    ],
)
async def test_begin_decides_whether_an_append_may_begin_a_session(begin, there, expected):
    """`RESTART` returns the existing session; a successful append clears it."""
    store = store_of()
    if there:
        await append(store, "a", 3)
    if expected is NotFound:
        with pytest.raises(NotFound):
            async with store.use("a", None, begin):
                pass
        return
    async with store.use("a", None, begin) as session:
        assert expected == session.length


async def test_an_evicted_session_can_restart():
    """Its caller knows that the context starts again."""
    clock = FakeClock()
    store = store_of(clock)
    await append(store, "a")
    clock.advance(61)
    with pytest.raises(Gone):
        store.get("a")
    async with store.use("a", None, SessionStart.RESTART) as session:
        assert session.length == 0


async def test_an_append_that_waited_for_the_end_of_a_session_finds_it_empty():
    """It can begin the session again, but not continue it."""
    store = store_of()
    await append(store, "a", 3)

    async def wait(begin):
        async with store.use("a", None, begin) as session:
            length = session.length
            await asyncio.sleep(0)
            return length

    async with store.use("a", None) as session:
        waiting = [asyncio.create_task(wait(b)) for b in (SessionStart.NEVER, SessionStart.RESTART)]
        await asyncio.sleep(0)
        store.forget(session)
    late, restarted = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(late, NotFound)
    assert restarted == 0
    assert (len(store), store.nbytes) == (0, 0)
