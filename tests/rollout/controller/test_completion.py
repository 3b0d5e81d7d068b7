"""Work goes on without its caller, and its failure is not lost."""

from __future__ import annotations

import asyncio

import pytest

from service.rollout.controller.completion import run_to_completion


async def start(work):
    """Begin `work`, and cancel its caller."""
    caller = asyncio.create_task(run_to_completion(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_work_ends_although_its_caller_has_gone(caplog):
    gate, done = asyncio.Event(), []

    async def work():
        await gate.wait()
        done.append("stored")

    await start(work())
    gate.set()
    while not done:
        await asyncio.sleep(0)
    assert "" == caplog.text


async def test_a_failure_after_the_caller_has_gone_is_logged(caplog):
    gate = asyncio.Event()

    async def work():
        await gate.wait()
        raise OSError("the disk is full")

    await start(work())
    gate.set()
    while "the disk is full" not in caplog.text:
        await asyncio.sleep(0)


async def test_a_caller_that_waits_gets_result_and_error():
    async def work(fails):
        if fails:
            raise OSError("the disk is full")
        return 7

    assert 7 == await run_to_completion(work(fails=False))
    with pytest.raises(OSError, match="full"):
        await run_to_completion(work(fails=True))
