"""Calls come at their time and in order, however many are cancelled."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from service.timers import SharedTimer, shared_timer


class LoopStub:
    """An event loop's clock and timers, set by hand."""

    def __init__(self):
        self.now = 0.0
        self.armed = []
        self.problems = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        handle = LoopTimerStub(self, when, callback)
        self.armed.append(handle)
        return handle

    def call_exception_handler(self, context):
        self.problems.append(context["exception"])

    def advance(self, to):
        """Set the clock, and fire what is due."""
        self.now = to
        while due := [each for each in self.armed if each.when <= to]:
            handle = min(due, key=lambda each: each.when)
            self.armed.remove(handle)
            handle.callback()


class LoopTimerStub:
    """A timer of the loop, which can be cancelled."""

    def __init__(self, loop, when, callback):
        self.loop, self.when, self.callback = loop, when, callback

    def cancel(self):
        self.loop.armed.remove(self)


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=300), st.integers(0, 400))
def test_what_is_due_is_called_once_and_what_was_cancelled_is_not(planned, until):
    loop = LoopStub()
    timer = SharedTimer(loop)
    called = []
    entries = [timer.call_at(float(when), called.append, when) for when, _ in planned]
    for entry, (_, cancelled) in zip(entries, planned, strict=True):
        if cancelled:
            entry.cancel()
            entry.cancel()
    for now in range(1, until + 1):
        loop.advance(float(now))
    due = sorted(when for when, cancelled in planned if not cancelled and when <= until)
    assert due == called
    assert len(loop.armed) <= 1


def test_later_deadlines_do_not_touch_the_loop():
    loop = LoopStub()
    timer = SharedTimer(loop)
    timer.call_at(1.0, list)
    first = loop.armed[0]
    for number in range(1000):
        timer.call_at(2.0 + number, list).cancel()
    assert [first] == loop.armed
    assert len(timer) < 200, "cancelled entries do not pile up"
    timer.call_at(0.5, list)
    assert [0.5] == [each.when for each in loop.armed]


def test_a_callback_that_fails_does_not_stop_the_others():
    loop = LoopStub()
    timer = SharedTimer(loop)
    called = []
    timer.call_at(1.0, lambda: 1 / 0)
    timer.call_at(1.0, called.append, 2)
    loop.advance(1.0)
    assert [2] == called
    assert isinstance(loop.problems[0], ZeroDivisionError)


def test_a_callback_may_begin_another_timer():
    loop = LoopStub()
    timer = SharedTimer(loop)
    called = []
    timer.call_at(1.0, lambda: timer.call_at(1.5, called.append, 2))
    loop.advance(1.0)
    loop.advance(1.5)
    assert [2] == called


async def test_a_loop_has_one_timer():
    assert shared_timer() is shared_timer(asyncio.get_running_loop())
    called = asyncio.Event()
    shared_timer().call_later(0.001, called.set)
    async with asyncio.timeout(5):
        await called.wait()
