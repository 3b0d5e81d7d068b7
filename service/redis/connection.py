"""One connection: commands go out in batches, and their replies come back in order.

Every command in a turn of the event loop after the first one goes out with the others at the end
of the turn. The first one goes out at once: the server works on it while this turn goes on, which
may run an engine's step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from service.redis.failures import RedisDownError

Reply = Any
"""Bytes, a number, None, a list of replies, a `hiredis.ReplyError` or a `RedisDownError`."""

OnReply = Callable[[Reply], None]

_INCOMPLETE: Final = object()


class RedisConnection(asyncio.Protocol):
    """Sends packed commands and calls back with each reply.

    `on_lost` is called once, when the connection ends for whatever reason. After it, each reply
    that has not come by then is a `RedisDownError`.
    """

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._waiting: deque[OnReply] = deque()
        self._unsent: list[bytes] = []
        self._sent_in_this_turn = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        # Otherwise the event loop keeps what is written until the end of the turn.
        self._transport.set_write_buffer_limits(high=0)

    def send(self, command: bytes, on_reply: OnReply) -> None:
        """Send a packed command."""
        if self._transport is None:
            on_reply(RedisDownError("the connection was lost"))
            return
        self._waiting.append(on_reply)
        if self._sent_in_this_turn:
            self._unsent.append(command)
            return
        self._sent_in_this_turn = True
        self._transport.write(command)
        self._loop.call_soon(self._end_turn)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _end_turn(self) -> None:
        self._sent_in_this_turn = False
        if self._unsent and self._transport is not None:
            commands, self._unsent = self._unsent, []
            self._transport.write(b"".join(commands))

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                waiting.popleft()(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()  # not a Redis server, or one that says what nobody asked for

    def pause_writing(self) -> None:
        """Nothing to do: the client bounds what waits."""

    def resume_writing(self) -> None:
        """Nothing to do, as above."""

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._on_lost()
        while self._waiting:
            self._waiting.popleft()(RedisDownError("the connection was lost"))
