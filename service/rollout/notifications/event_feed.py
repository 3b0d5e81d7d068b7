"""What happens, for whoever is listening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

BACKLOG = 256
"""Events kept for a listener who does not read; the oldest go first."""

Message = dict[str, object]


class EventFeed:
    """Hands every event to every subscriber; never waits for one."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Message | None]] = set()
        self._closed = False

    def send(self, event: str, data: Mapping[str, object]) -> None:
        """One event to all."""
        for queue in self._queues:
            _put(queue, {"event": event, "data": dict(data)})

    def close(self) -> None:
        """End all subscriptions once they have read what is left."""
        self._closed = True
        for queue in self._queues:
            _put(queue, None)

    async def subscribe(self, first: Callable[[], Message]) -> AsyncIterator[Message]:
        """What `first` answers at the start, then everything sent after it, until `close`."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(BACKLOG)
        _put(queue, first())
        if self._closed:
            _put(queue, None)
        self._queues.add(queue)
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._queues.discard(queue)


def _put(queue: asyncio.Queue[Message | None], message: Message | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)
