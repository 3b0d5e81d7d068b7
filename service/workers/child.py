"""What every process under the supervisor does first, and how it is started."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from service.settings import Settings

_PR_SET_PDEATHSIG = 1

EX_TEMPFAIL = 75
"""Exit status of a worker whose engine process has ended."""


@dataclass(frozen=True)
class ProcessStart:
    """What the supervisor hands to a process. Numbers of descriptors are the process's own.

    `ready` is a pipe to which it writes once it serves.
    """

    settings: Settings
    parent: int = 0
    ready: int = -1


@dataclass(frozen=True, kw_only=True)
class EngineStart(ProcessStart):
    """The start of the engine process, with its ends of the workers' `doors`."""

    doors: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerStart(ProcessStart):
    """The start of worker `slot` of `workers`.

    `door` leads to the engine process. It listens on `listening`; the other workers do on `spare`.
    """

    slot: int
    workers: int
    door: int
    listening: tuple[int, ...]
    spare: tuple[int, ...]


StartT = TypeVar("StartT", bound=ProcessStart)


def read_start(kind: type[StartT]) -> StartT:
    """Return what the supervisor wrote to standard input.

    From here on, the process ends when the supervisor does, however that ends.
    """
    # Written by the supervisor, from its own settings.
    start = pickle.load(sys.stdin.buffer)  # noqa: S301
    if not isinstance(start, kind):
        raise TypeError(f"the supervisor sent {type(start).__name__}")
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != start.parent:  # it ended before the line above
        sys.exit(EX_TEMPFAIL)
    return start


def report_ready(start: ProcessStart) -> None:
    """Tell the supervisor that this process serves."""
    with suppress(OSError):
        os.write(start.ready, b"1")
    os.close(start.ready)


class ChildProcess:
    """A process that runs a module with `start`. It gets the descriptors `inherited`.

    `command` is the module's name and its arguments.
    """

    def __init__(
        self, name: str, command: Sequence[str], start: ProcessStart, inherited: Sequence[int]
    ) -> None:
        """Raises `OSError` if no process can be started."""
        self.name = name
        self.began = time.monotonic()
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603  its own module
            [sys.executable, "-P", "-m", *command],
            stdin=subprocess.PIPE,
            pass_fds=[*inherited, write],
            # A terminal's Ctrl-C reaches the supervisor alone, which passes it on once.
            process_group=0,
        )
        os.close(write)
        stdin = cast("Any", self._process.stdin)
        with suppress(BrokenPipeError):  # it has ended already
            stdin.write(pickle.dumps(replace(start, parent=os.getpid(), ready=write)))
            stdin.close()
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._watched = os.pidfd_open(self.pid)
        loop.add_reader(read, self._on_ready, read)
        loop.add_reader(self._watched, self._on_end)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def was_ready(self) -> bool:
        """Whether it has begun to serve."""
        return self.ready.done() and self.ready.result()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if not self.ended.done():
            self._process.send_signal(number)

    def describe_end(self) -> str:
        """How it ended, for the log."""
        code = self.ended.result()
        how = (
            f"was ended by {signal.Signals(-code).name}"
            if code < 0
            else f"ended with status {code}"
        )
        return f"{self.name} (process {self.pid}) {how}"

    def _on_ready(self, read: int) -> None:
        found = os.read(read, 1)
        asyncio.get_running_loop().remove_reader(read)
        os.close(read)
        self.ready.set_result(bool(found))

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self.ended.set_result(self._process.wait())
