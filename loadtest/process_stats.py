"""Memory, descriptors and threads of a process on this machine, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessStats:
    """One reading. `rss` is the resident memory in bytes."""

    rss: int
    descriptors: int
    threads: int


def read_process(pid: int) -> ProcessStats | None:
    """Read the process `pid`; None if it has ended, or on a system without /proc."""
    folder = Path("/proc") / str(pid)
    try:
        lines = (folder / "status").read_text().splitlines()
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmRSS" not in fields:
        return None  # a process that has ended and was not waited for
    rss = int(fields["VmRSS"].split()[0]) * 1024
    return ProcessStats(rss, descriptors, int(fields["Threads"]))


def read_cpu_seconds(pid: int) -> float:
    """CPU seconds that all threads of a process have taken, in user and in system mode.

    0 if it has ended. The system counts in hundredths of a second.
    """
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_tree(pid: int) -> dict[int, list[str]]:
    """The arguments of a process and of its descendants, by their ids."""
    found: dict[int, list[str]] = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        folder = Path("/proc") / str(each)
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            children = (folder / "task" / str(each) / "children").read_text()
        except OSError:
            continue
        found[each] = arguments
        waiting += [int(child) for child in children.split()]
    return found
