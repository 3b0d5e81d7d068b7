"""Whose deadline passed decides whose fault it is."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import DeadlineExceeded
from service.prediction.deadline import CallerDeadlineExceeded, Deadline

SOON = 0.001


async def test_the_services_deadline_is_the_versions_fault():
    for caller in (None, 10.0, SOON):
        with pytest.raises(DeadlineExceeded, match=r"0\.001 s") as raised:
            async with Deadline(SOON, caller):
                await asyncio.Event().wait()
        assert not isinstance(raised.value, CallerDeadlineExceeded)


async def test_the_callers_own_deadline_is_not():
    with pytest.raises(CallerDeadlineExceeded, match=r"0\.001 s") as raised:
        async with Deadline(10.0, SOON):
            await asyncio.Event().wait()
    assert raised.value.code == "deadline_exceeded"


async def test_other_errors_pass_through():
    with pytest.raises(KeyError):
        async with Deadline(10.0, None):
            raise KeyError
    async with Deadline(10.0, None):
        pass


async def test_the_deadline_counts_from_the_arrival():
    """What a request has waited before is taken off, and is never negative."""
    deadline = Deadline(10.0, None, 4.0)
    async with deadline:
        assert 5.0 < deadline.seconds_left <= 6.0
    with pytest.raises(DeadlineExceeded, match="10 s"):
        async with Deadline(10.0, None, 11.0):
            await asyncio.Event().wait()


async def test_a_cancellation_from_elsewhere_is_not_a_deadline():
    """Also if the deadline passes at the same moment."""

    async def wait(seconds):
        async with Deadline(seconds, None):
            await asyncio.Event().wait()

    for seconds in (10.0, 0.0):
        task = asyncio.create_task(wait(seconds))
        await asyncio.sleep(0)
        task.cancel()
        if seconds == 0.0:
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_task_goes_on_after_its_deadline():
    with pytest.raises(DeadlineExceeded):
        async with Deadline(SOON, None):
            await asyncio.Event().wait()
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0
