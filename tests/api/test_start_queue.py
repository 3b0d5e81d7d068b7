"""Requests start a few a turn, in order."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from service.api.start_queue import PER_TURN, StartQueue


async def test_a_few_start_at_once_and_the_others_in_later_turns():
    queue, started = StartQueue(), []
    for number in range(3 * PER_TURN + 1):
        queue.put(lambda number=number: started.append(number))
    assert started == list(range(PER_TURN))
    counts = []
    while len(started) < 3 * PER_TURN + 1:
        await asyncio.sleep(0)
        counts.append(len(started))
    assert started == list(range(3 * PER_TURN + 1))
    assert max(after - before for before, after in pairwise(counts)) <= PER_TURN


async def test_a_new_turn_starts_at_once_again():
    queue, started = StartQueue(), []
    for _ in range(5):
        queue.put(lambda: started.append(1))
        assert started.pop() == 1
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_start_that_fails_holds_up_no_other():
    queue, started, reported = StartQueue(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for number in range(PER_TURN):
        queue.put(lambda number=number: started.append(number))
    queue.put(lambda: started.append(1 / 0))
    for number in range(PER_TURN, 2 * PER_TURN):
        queue.put(lambda number=number: started.append(number))
    for _ in range(4):
        await asyncio.sleep(0)
    assert list(range(2 * PER_TURN)) == started
    assert [ZeroDivisionError] == [type(context["exception"]) for context in reported]
