"""The server that a soak test or a fuzzer runs against: the caller's, or one started for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.demo import environment
from service.clock import SystemClock

STABLE, CANARY = "stable", "canary"
WINDOW = 100
MODELS = "test-models"
"""The folder of the exported versions, beside the folder of the results: all tests share it."""
_READY_SECONDS = 60.0

SMALL_STORES = {
    # So small that they evict all the time, and are full within a minute: what grows later leaks.
    "NEXTVEC_SESSIONS__MAX_BYTES": str(4 * 2**20),
    "NEXTVEC_PREFIX_CACHE__MAX_BYTES": str(4 * 2**20),
    "NEXTVEC_FEEDBACK__MAX_BYTES": str(2 * 2**20),
    # Verdicts are rare: a rollout ends when the test ends it.
    "NEXTVEC_ROLLOUT__INTERVAL_SECONDS": "60",
}
"""Settings of a server that is started for a test."""


@dataclass(frozen=True)
class TargetServer:
    """Where a server is, its approver token, and its process; None for what is not known.

    `canary` is a version that may be rolled out and aborted. `log` is its log.
    """

    url: str
    token: str | None
    pid: int | None
    canary: str | None = None
    log: Path | None = None

    def count_tracebacks(self) -> int:
        """Exceptions that nothing handled, in the log of the server; 0 if there is no log."""
        return self.log.read_text(errors="replace").count("Traceback (most") if self.log else 0


@contextmanager
def started_server(checkpoint: Path, out: Path) -> Iterator[TargetServer]:
    """Export `checkpoint` as two versions if needed, and serve them from a process.

    Raises `EnvironmentSetupError` if the export or the start fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    models = out.parent / MODELS
    for version in (STABLE, CANARY):
        if not environment.is_export_current(models, version, checkpoint, WINDOW):
            log = out / f"export-{version}.log"
            environment.export_version(models, version, checkpoint, log, WINDOW)
    with environment.run_server(models, out, STABLE, CANARY, SMALL_STORES) as server:
        asyncio.run(server.ready(SystemClock(), _READY_SECONDS))
        yield TargetServer(server.url, server.token, server.process.pid, CANARY, server.log)
