"""Memory, descriptors and threads of a process on this machine, read from /proc."""

from __future__ import annotations

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
