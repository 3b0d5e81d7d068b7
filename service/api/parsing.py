"""Where bodies are parsed: small ones at once, large ones one after the other in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

OFF_LOOP_BYTES = 64 * 1024
"""Larger bodies are parsed in a thread, so that the event loop keeps serving others."""


class ParsingThread:
    """The only thread that parses large bodies, for all routes.

    Parsed JSON takes several times its size in memory, and a parser holds the
    interpreter's lock: with one body at a time, concurrent requests do not add up.
    `BodyBudget` bounds the bodies that wait.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "parsing")

    async def run(self, size: int, parse: Callable[[], T]) -> T:
        """Return what `parse` returns for a body of `size` bytes. Raises what it raises."""
        if size <= OFF_LOOP_BYTES:
            return parse()
        return await asyncio.get_running_loop().run_in_executor(self._executor, parse)

    def close(self) -> None:
        """End the thread after the body that it parses."""
        self._executor.shutdown(wait=False, cancel_futures=True)
