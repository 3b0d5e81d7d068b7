"""Sends the rollout's events to subscribers."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

BACKLOG = 256
"""Events kept for a subscriber that does not read, and for one that comes back; the oldest are
dropped."""

FeedMessage = dict[str, object]


class EventFeed:
    """Gives every event to every subscriber, and never waits for one.

    Every event has an `id` of this process, with which a subscriber can continue.
    """

    def __init__(self) -> None:
        self._process = secrets.token_hex(4)
        self._sent = 0
        self._recent: deque[FeedMessage] = deque(maxlen=BACKLOG)
        self._queues: set[asyncio.Queue[FeedMessage | None]] = set()
        self._closed = False

    def send(self, event: str, data: Mapping[str, object]) -> None:
        """Send one event to all subscribers."""
        self._sent += 1
        message: FeedMessage = {"event": event, "data": dict(data), "id": self._id}
        self._recent.append(message)
        for queue in self._queues:
            _put(queue, message)

    def close(self) -> None:
        """End every subscription after the events that it still has to read."""
        self._closed = True
        for queue in self._queues:
            _put(queue, None)

    async def subscribe(
        self, first: Callable[[], FeedMessage], last_id: str | None = None
    ) -> AsyncIterator[FeedMessage]:
        """What `first` returns, then every event from now on, until `close`.

        The events after the one called `last_id` come before, as far as they are kept.
        """
        queue: asyncio.Queue[FeedMessage | None] = asyncio.Queue(BACKLOG)
        for missed in self._missed(last_id):
            _put(queue, missed)
        _put(queue, {**first(), "id": self._id})
        if self._closed:
            _put(queue, None)
        self._queues.add(queue)
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._queues.discard(queue)

    @property
    def _id(self) -> str:
        """The id of the last event."""
        return f"{self._process}-{self._sent}"

    def _missed(self, last_id: str | None) -> list[FeedMessage]:
        recent = list(self._recent)
        ids = [message["id"] for message in recent]
        return recent[ids.index(last_id) + 1 :] if last_id in ids else []


def _put(queue: asyncio.Queue[FeedMessage | None], message: FeedMessage | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)
