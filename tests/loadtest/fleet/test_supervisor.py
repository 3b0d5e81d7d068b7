"""What ends is started again, and a process that cannot stay up is not started all the time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from loadtest.fleet.process import FleetProcess
from loadtest.fleet.supervisor import keep_running


async def kept(process, until):
    """Look after one process until a condition on the lines that were said."""
    said = []
    fleet = SimpleNamespace(processes=[process])
    task = asyncio.create_task(keep_running(fleet, said.append))
    async with asyncio.timeout(30):
        while not until(said):
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    process.kill()
    return said


async def test_a_killed_process_is_started_again(tmp_path):
    process = FleetProcess("replica-1", ["sleep", "99"], tmp_path / "log")
    process.start()
    first = process.pid
    process.kill()
    (line,) = await kept(process, lambda _said: process.is_running)
    assert "replica-1 ended with status -9" in line
    assert str(tmp_path / "log") in line
    assert first != process.pid


async def test_one_that_fails_at_its_start_waits_longer_each_time(tmp_path):
    process = FleetProcess("replica-1", ["false"], tmp_path / "log")
    process.start()
    said = await kept(process, lambda said: len(said) == 3)
    assert ["now", "1 s", "2 s"] == [
        line.rpartition("starting ")[2].removeprefix("in ") for line in said
    ]
