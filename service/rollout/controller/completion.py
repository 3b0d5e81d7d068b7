"""Work that must not stop half-way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

_running: set[asyncio.Task[Any]] = set()
"""Work whose caller has gone. The event loop alone would not keep it."""


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even if the caller is cancelled, so that no change stays half done.

    If it fails after that, the failure is logged: nobody else hears of it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            _running.add(task)
            task.add_done_callback(_end)
        raise


def _end(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("a change failed after its caller had gone: %s", error, exc_info=error)
