"""The parent of the engine process and of the workers."""

from __future__ import annotations

import asyncio
import errno

import pytest

from service.settings import Settings
from service.workers import supervisor
from service.workers.child import EX_TEMPFAIL


class Machine:
    """Starts processes that do nothing; the first `refused` starts of a worker fail.

    The first worker that starts ends the engine process, and with it the run.
    """

    def __init__(self, refused):
        self.refused = refused
        self.started = []
        self.engine = None

    def start(self, name, command, start, inherited):
        """Stand in for `ChildProcess`."""
        if self.engine is None:
            self.engine = Child(name)
            return self.engine
        if self.refused:
            self.refused -= 1
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.started.append(name)
        worker = Child(name)
        worker.end(EX_TEMPFAIL)
        self.engine.end(0)
        return worker


class Child:
    """A process."""

    pid = 0
    began = 0.0
    was_ready = False

    def __init__(self, name):
        self.name = name
        loop = asyncio.get_running_loop()
        self.ready, self.ended = loop.create_future(), loop.create_future()

    def end(self, code):
        for future, result in ((self.ready, False), (self.ended, code)):
            if not future.done():
                future.set_result(result)

    def send_signal(self, number):
        self.end(-number)


@pytest.mark.parametrize(("refused", "started"), [(2, ["worker 1"]), (5, [])])
async def test_a_worker_that_the_machine_refuses_is_started_again(monkeypatch, refused, started):
    """After five refusals in a row all processes end, as after five starts that failed."""
    machine = Machine(refused)
    monkeypatch.setattr(supervisor, "ChildProcess", machine.start)
    status = await supervisor.Supervisor(Settings(host="127.0.0.1", port=0), 1).run()
    assert started == machine.started
    assert 0 != status
