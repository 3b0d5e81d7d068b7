"""The parent of the engine process and of the workers. It serves nothing itself.

A worker that ends is replaced. When the engine process ends, the workers end too, and all start
again: what they know of it would be wrong. A start that fails is not repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Literal

from service.settings import Settings
from service.settings.loader import ConfigurationError
from service.workers.child import EX_TEMPFAIL, ChildProcess, EngineStart, WorkerStart
from service.workers.door import make_door
from service.workers.restarts import ENGINE_RULE, WORKER_RULE, RestartCounter
from service.workers.sockets import bind_workers, close_all

logger = logging.getLogger(__name__)

_STOPPED = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}

STARTUP_FAILURE = 3
"""Exit status if the address cannot be used, as that of one process."""

_KILL_SECONDS = 10.0
"""How much longer than all deadlines a stop may take before it is forced."""

_FOLLOW_SECONDS = 5.0
"""How long workers may answer after the engine process has ended."""


ENGINE = ("service.workers.engine_process",)
WORKER = ("service.workers.worker_process",)
"""The module of each kind of process, and arguments."""


class Supervisor:
    """Runs one engine process and `workers` workers until a signal."""

    def __init__(self, settings: Settings, workers: int, engine: Sequence[str] = ENGINE) -> None:
        self._settings = settings
        self._count = workers
        self._engine_command = engine
        self._port = settings.port
        self._children: dict[str, ChildProcess] = {}
        self._sockets: list[list[socket.socket]] = []
        self._stop = asyncio.Event()
        self._gave_up = False
        self._signals = 0

    async def run(self) -> int:
        """Return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._pass_on, number)
        counter = RestartCounter(ENGINE_RULE)
        is_first = True
        while True:
            try:
                self._sockets = await bind_workers(self._settings.host, self._port, self._count)
            except OSError as error:
                logger.error(  # noqa: TRY400  an expected error
                    "cannot listen on %s port %s: %s; choose another address with --host or --port",
                    self._settings.host,
                    self._port,
                    os.strerror(error.errno) if error.errno and error.errno > 0 else error,
                )
                return STARTUP_FAILURE
            self._port = self._sockets[0][0].getsockname()[1]
            engine = await self._run_once()
            code = engine.ended.result()
            if self._stop.is_set():
                # A process that has not begun to serve ends by the signal itself.
                stopped = not engine.was_ready and code in _STOPPED
                return 1 if self._gave_up else 0 if stopped else _status(code)
            if is_first and not engine.was_ready:
                return _status(code) or 1
            delay = counter.delay(loop.time() - engine.began, was_ready=engine.was_ready)
            if delay is None:
                logger.error("%s; too many starts have failed", engine.describe_end())
                return _status(code) or 1
            logger.error("%s; all start again in %g s", engine.describe_end(), delay)
            if await self._stopped_within(delay):
                return 1
            is_first = False

    async def _run_once(self) -> ChildProcess:
        """Run until the engine process ends, and return it; its workers have ended as well."""
        doors = [make_door() for _ in range(self._count)]
        outer, inner = [door[0] for door in doors], [door[1] for door in doors]
        numbers = tuple(end.fileno() for end in inner)
        engine = ChildProcess(
            "the engine process",
            self._engine_command,
            EngineStart(self._settings, doors=numbers),
            numbers,
        )
        self._children["engine"] = engine
        for end in inner:
            end.close()
        if self._stop.is_set():
            engine.send_signal(signal.SIGTERM)
        keepers: list[asyncio.Task[None]] = []
        if not self._stop.is_set():
            # They start beside the engine process, and listen when it is ready.
            keepers = [
                asyncio.create_task(self._keep_worker(slot, engine, outer[slot]))
                for slot in range(self._count)
            ]
        await engine.ended
        await self._end_workers(keepers)
        close_all(self._sockets)
        for end in outer:
            end.close()
        self._children.clear()
        return engine

    async def _keep_worker(self, slot: int, engine: ChildProcess, door: socket.socket) -> None:
        """Run worker `slot`, and replace it as long as the engine process runs."""
        counter = RestartCounter(WORKER_RULE)
        loop = asyncio.get_running_loop()
        while not (self._stop.is_set() or engine.ended.done()):
            try:
                worker = self._start_worker(slot, door)
            except OSError as error:  # too many processes or descriptors, or too little memory
                if not await self._starts_again(
                    engine, counter.delay(0.0, was_ready=False), f"worker {slot + 1}: {error}"
                ):
                    return
                continue
            if await worker.ready:
                self._log_ready()
            await worker.ended
            if worker.ended.result() == EX_TEMPFAIL:  # because its engine process has ended
                await asyncio.wait([engine.ended], timeout=_FOLLOW_SECONDS)
            if self._stop.is_set() or engine.ended.done():
                self._on_worker_stopped()
                return
            delay = counter.delay(loop.time() - worker.began, was_ready=worker.was_ready)
            if not await self._starts_again(engine, delay, worker.describe_end()):
                return

    async def _starts_again(self, engine: ChildProcess, delay: float | None, why: str) -> bool:
        """Wait until a worker may start again; without a delay, end all and return False."""
        if delay is None:
            logger.error("%s; too many starts have failed", why)
            self._gave_up = True
            self._pass_on(signal.SIGTERM)
            return False
        logger.error("%s; it starts again in %g s", why, delay)
        await asyncio.wait([engine.ended], timeout=delay)
        return True

    def _start_worker(self, slot: int, door: socket.socket) -> ChildProcess:
        own = [each.fileno() for each in self._sockets[slot]]
        others = [
            each.fileno()
            for i, each_of in enumerate(self._sockets)
            if i != slot
            for each in each_of
        ]
        name = f"worker {slot + 1}"
        worker = ChildProcess(
            name,
            WORKER,
            WorkerStart(
                self._settings,
                slot=slot,
                workers=self._count,
                door=door.fileno(),
                listening=tuple(own),
                spare=tuple(others),
            ),
            [door.fileno(), *own, *others],
        )
        self._children[name] = worker
        return worker

    def _log_ready(self) -> None:
        """Say where the service is, once all workers serve."""
        workers = [child for name, child in self._children.items() if name != "engine"]
        if len(workers) == self._count and all(each.was_ready for each in workers):
            logger.info("%d HTTP workers listen on port %d", self._count, self._port)

    def _on_worker_stopped(self) -> None:
        # A worker that has stopped leaves connections to nobody.
        close_all(self._sockets)

    def _pass_on(self, number: int) -> None:
        """Hand a signal to all processes: the drain of each begins, or its wait ends."""
        loop = asyncio.get_running_loop()
        first = not self._stop.is_set()
        self._stop.set()
        for child in list(self._children.values()):
            child.send_signal(number)
        seconds = 0.0 if number == signal.SIGINT or not first else self._settings.http.drain_seconds
        if first or number == signal.SIGINT:
            patience = self._settings.limits.timeout_seconds + _KILL_SECONDS
            loop.call_later(seconds + patience, self._kill)

    def _kill(self) -> None:
        for child in list(self._children.values()):
            if not child.ended.done():
                logger.error("%s (process %d) does not stop: it is killed", child.name, child.pid)
                child.send_signal(signal.SIGKILL)

    async def _end_workers(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the workers, which have noticed that the engine process has ended."""
        workers = [child for name, child in self._children.items() if name != "engine"]
        pending = [worker.ended for worker in workers if not worker.ended.done()]
        if pending:
            await asyncio.wait(pending, timeout=_FOLLOW_SECONDS)
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        await asyncio.gather(*(worker.ended for worker in workers), *keepers)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _status(code: int) -> int:
    """The exit status for that of a process; a shell's, if a signal ended it."""
    return code if code >= 0 else 128 - code


def number_of_workers(wanted: int | Literal["auto"]) -> int:
    """Return the number of workers for the setting: `auto` is one for every two cores, up to 8.

    Raises `ConfigurationError` for several of them on another system than Linux.
    """
    if wanted == "auto":
        return 1 if sys.platform != "linux" else max(1, min(8, len(os.sched_getaffinity(0)) // 2))
    if wanted > 1 and sys.platform != "linux":
        raise ConfigurationError([f"http.workers is {wanted}: more than 1 requires Linux"])
    return wanted


def supervise(settings: Settings, workers: int, engine: Sequence[str] = ENGINE) -> int:
    """Run the processes until a signal. Return the exit status.

    `engine` is the module of the engine process and its arguments.
    """

    async def run() -> int:
        return await Supervisor(settings, workers, engine).run()

    return asyncio.run(run())
