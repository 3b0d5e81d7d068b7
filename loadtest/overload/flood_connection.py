"""A connection that costs little: it reads a response's status and length, and no more.

A flood of several thousand requests a second shares its cores with the server. The client of
other load tests takes 0.1 ms of CPU a request and would measure itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class FloodConnection(asyncio.Protocol):
    """One request at a time. `on_response(connection, status)` ends each; 0 is no response."""

    def __init__(self, on_response: Callable[[FloodConnection, int], None]) -> None:
        self.open = False
        self._on_response = on_response
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting = False

    def send(self, request: bytes) -> None:
        """Send a whole request. The connection must be open and idle."""
        assert self._transport is not None, "the connection is open"
        assert not self._waiting, "the connection is idle"
        self._waiting = True
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection. A request in flight ends without a response."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return
        head = self._buffer[:head_end]
        found = _LENGTH.search(head)
        if found is None or not head.startswith(b"HTTP/1.1 "):
            self.close()
            return
        if len(self._buffer) < head_end + len(_HEAD_END) + int(found[1]):
            return
        self._buffer = b""
        if _CLOSE.search(head):
            self.open = False
            self.close()
        self._end(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio calls it
        self.open = False
        self._end(0)

    def _end(self, status: int) -> None:
        if self._waiting:
            self._waiting = False
            self._on_response(self, status)
