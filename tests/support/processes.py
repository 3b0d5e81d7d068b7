"""The processes under `nextvec serve --http-workers`, found through /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of a process that have not ended."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [each for each in map(int, text.split()) if is_alive(each)]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def module_of(pid: int) -> str:
    """The module that the process runs, or an empty text."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return ""
    return arguments[arguments.index("-m") + 1] if "-m" in arguments else ""


def engine_process(server) -> int:
    """The id of the engine process of a server."""
    (found,) = [
        each
        for each in children(server.process.pid)
        if module_of(each) == "service.workers.engine_process"
    ]
    return found


def worker_processes(server) -> list[int]:
    """The ids of the workers of a server."""
    return [
        each
        for each in children(server.process.pid)
        if module_of(each) == "service.workers.worker_process"
    ]


def wait_until(holds, seconds=30.0):
    """Wait until `holds()` is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def end(pid: int, number: int) -> None:
    """Send a signal to a process of a test's own server."""
    os.kill(pid, number)
