"""One request of the fast path and its response, as uvicorn's protocol sees it."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from service.api.access.api_keys import LimitedCaller
from service.api.http_call import Handler


class _UnusedEvent:
    """A replacement for the event that uvicorn sets when a message arrives."""

    def set(self) -> None:
        """Do nothing: the fast path does not wait for messages."""


class Exchange:
    """One request and its response.

    uvicorn's protocol reads and sets the first attributes, as on its own request cycle.
    """

    message_event: Final = _UnusedEvent()

    def __init__(
        self,
        handler: Handler | None,
        route: str,
        caller: LimitedCaller | None,
        headers: list[tuple[bytes, bytes]],
        query: bytes,
    ) -> None:
        self.keep_alive = True
        self.disconnected = False
        self.more_body = True
        self.response_started = self.response_complete = False
        self.handler = handler  # None: a health check
        self.method = "GET" if handler is None else "POST"
        self.route = route
        self.caller = caller
        self.headers = headers
        self.query = query
        self.began = self.arrived = time.perf_counter()
        self.parts: list[bytes] = []
        self.held_bytes = 0
        self.body_timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def stop_body_timer(self) -> None:
        """Nothing more is waited for: the body is complete, or the request is answered."""
        self.more_body = False
        if self.body_timer is not None:
            self.body_timer.cancel()
