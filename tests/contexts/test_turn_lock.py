"""Appends of a session take turns."""

from __future__ import annotations

import asyncio

import pytest

from service.contexts.turn_lock import TurnLock


async def waiting(lock, name, order):
    async with lock:
        order.append(name)
        await asyncio.sleep(0)


async def test_turns_are_taken_in_order_of_arrival():
    lock, order = TurnLock(), []
    lock.take()
    tasks = [asyncio.create_task(waiting(lock, name, order)) for name in "abc"]
    await asyncio.sleep(0)
    lock.release()
    await asyncio.gather(*tasks)
    assert ["a", "b", "c"] == order
    assert not lock.locked()


async def test_nobody_gets_in_between_a_release_and_the_next_turn():
    """The lock is handed over; it is not free for whoever asks first."""
    lock, order = TurnLock(), []
    lock.take()
    task = asyncio.create_task(waiting(lock, "a", order))
    await asyncio.sleep(0)
    lock.release()
    assert lock.locked()
    await task
    assert not lock.locked()


@pytest.mark.parametrize("released_first", [False, True])
async def test_one_that_goes_while_it_waits_does_not_stop_the_others(released_first):
    """Not even if it has just been given the lock."""
    lock, order = TurnLock(), []
    lock.take()
    gone, other = (asyncio.create_task(waiting(lock, name, order)) for name in "ab")
    await asyncio.sleep(0)
    if released_first:
        lock.release()
        gone.cancel()
    else:
        gone.cancel()
        await asyncio.sleep(0)
        lock.release()
    await asyncio.wait([gone, other], timeout=10)
    assert gone.cancelled()
    assert ["b"] == order
    assert not lock.locked()


async def test_one_that_goes_and_is_then_passed_over():
    lock, order = TurnLock(), []
    lock.take()
    gone, other = (asyncio.create_task(waiting(lock, name, order)) for name in "ab")
    await asyncio.sleep(0)
    gone.cancel()
    lock.release()
    await asyncio.wait([gone, other], timeout=10)
    assert (True, ["b"], False) == (gone.cancelled(), order, lock.locked())
