"""Sends the rollout's events to subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

BACKLOG = 256
"""Events kept for a subscriber that does not read; the oldest are dropped."""

FeedMessage = dict[str, object]


class EventFeed:
    """Gives every event to every subscriber, and never waits for one."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[FeedMessage | None]] = set()
        self._closed = False

    def send(self, event: str, data: Mapping[str, object]) -> None:
        """Send one event to all subscribers."""
        for queue in self._queues:
            _put(queue, {"event": event, "data": dict(data)})

    def close(self) -> None:
        """End every subscription after the events that it still has to read."""
        self._closed = True
        for queue in self._queues:
            _put(queue, None)

    async def subscribe(self, first: Callable[[], FeedMessage]) -> AsyncIterator[FeedMessage]:
        """What `first` returns, then every event from now on, until `close`."""
        queue: asyncio.Queue[FeedMessage | None] = asyncio.Queue(BACKLOG)
        _put(queue, first())
        if self._closed:
            _put(queue, None)
        self._queues.add(queue)
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._queues.discard(queue)


def _put(queue: asyncio.Queue[FeedMessage | None], message: FeedMessage | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)
