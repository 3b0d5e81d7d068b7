"""Starts again what ends, as Kubernetes or compose would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from loadtest.fleet.fleet import LocalFleet
from loadtest.fleet.process import FleetError

_CHECK_SECONDS = 0.2
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 60.0
"""A process that ran for so long is started again at once."""


async def keep_running(fleet: LocalFleet, say: Callable[[str], None]) -> None:
    """Keep the processes of `fleet` running until cancelled; `say` gets a line for each end."""
    started = {process.name: time.monotonic() for process in fleet.processes}
    pauses = dict.fromkeys(started, 0.0)
    due: dict[str, float] = {}
    while True:
        now = time.monotonic()
        for process in fleet.processes:
            name = process.name
            if process.is_running:
                continue
            if name not in due:
                if now - started[name] > _STABLE_SECONDS:
                    pauses[name] = 0.0
                due[name] = now + pauses[name]
                pauses[name] = min(max(_FIRST_PAUSE, 2 * pauses[name]), _LONGEST_PAUSE)
                status = process.process.returncode if process.process else None
                wait = f"in {due[name] - now:g} s" if due[name] > now else "now"
                say(f"{name} ended with status {status}; its log is {process.log}; starting {wait}")
            elif now >= due[name]:
                del due[name]
                started[name] = now
                try:
                    process.start()
                except FleetError as error:
                    say(str(error))
        await asyncio.sleep(_CHECK_SECONDS)
