"""One process of a fleet. It ends with the process that started it, whatever ends that one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import NextvecError

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 15


class FleetError(NextvecError):
    """A part of the fleet did not start, or has ended. The message ends with its log."""

    code = "fleet"


@dataclass
class FleetProcess:
    """A program with its log. `user` is whom it runs as if this process is root's.

    `stop_signal` asks it to end in order; `stop_seconds` later it is killed.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises `FleetError` if it was never started."""
        if self.process is None:
            raise FleetError(f"{self.name} was not started")
        return self.process.pid

    def start(self) -> None:
        """Start it; its output is added to its log. Raises `FleetError`."""
        as_user = self.user if self.user and os.geteuid() == 0 else None
        others = {k: v for k, v in os.environ.items() if not k.startswith("NEXTVEC_")}
        with self.log.open("ab") as output:
            try:
                self.process = subprocess.Popen(  # noqa: S603  our own command, no shell
                    [str(part) for part in self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**others, **self.environment},
                    # Ctrl-C reaches only the launcher, which then stops all in order.
                    start_new_session=True,
                    user=as_user,
                    group=as_user,
                    extra_groups=None if as_user is None else [],
                    preexec_fn=_end_with_parent(os.getpid()),  # noqa: PLW1509  no threads yet in it
                )
            except (OSError, subprocess.SubprocessError, LookupError) as error:
                raise FleetError(f"{self.name} cannot be started: {error}") from error

    def kill(self) -> None:
        """SIGKILL to it and its children, and wait until they are gone."""
        if self.process is None:
            return
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def ask_to_stop(self) -> None:
        """Send the signal to stop, without a wait."""
        if self.process is not None and self.is_running:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(self.stop_signal)

    def stop(self) -> int | None:
        """Ask it to stop, and kill it if it does not. Returns its exit status."""
        if self.process is None:
            return None
        self.ask_to_stop()
        try:
            return self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def suspend(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def check(self) -> None:
        """Raise `FleetError` if it is not running."""
        if not self.is_running:
            status = None if self.process is None else self.process.returncode
            raise FleetError(f"{self.name} ended with status {status}:\n{self.read_tail()}")

    def read_tail(self) -> str:
        """The last lines of its log."""
        with suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-_TAIL_LINES:])
        return ""

    async def wait_until(self, is_ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until `is_ready`. Raises `FleetError` if it ends before, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not await is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise FleetError(
                    f"{self.name} was not ready within {seconds:g} s:\n{self.read_tail()}"
                )
            await asyncio.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    """Children, and theirs. Empty on a system without /proc."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does before its program starts: ask the kernel for SIGKILL at its parent's end.

    Without it, `kill -9` of the launcher would leave a fleet behind. Only Linux has it.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)

    return ask
