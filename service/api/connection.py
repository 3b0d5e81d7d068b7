"""A connection that limits the size and the duration of a request's head.

uvicorn's protocol over httptools has no such limits, and answers invalid HTTP in plain
text. Here, a connection that is refused gets the error body of the contract.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.edge import Edge
from service.api.errors import error_body
from service.api.request_context import new_request_id
from service.timers import TimerLoop

MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024
"""Limit for a head that arrives in several pieces; one piece has at most 256 KiB."""


UNREAD_BODY_SECONDS = 5.0
"""Seconds after a response in which the rest of a body may still come. To close at once would
make the response unreadable for a caller that is still sending."""

MAX_LENGTH_DIGITS = 18
"""Digits of a `Content-Length`."""


class HeadRefusedError(Exception):
    """A head over the limits. Raised in a callback of the parser, to stop it."""

    def __init__(self, message: str, status: int = 431, code: str = "head_too_large") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits for heads.

    It relies on private names of uvicorn: `pyproject.toml` pins the version, and
    `tests/end_to_end/test_protocol_abuse.py` checks the behaviour.
    """

    def __init__(self, services: Edge, **given: Any) -> None:
        super().__init__(**{**given, "_loop": TimerLoop(asyncio.get_running_loop())})
        self.services = services
        # True between the end of a request and the end of the next head.
        self._before_head_end = True
        # True within a head.
        self._head_open = False
        self._head_bytes = 0
        # True if a request has ended since the last call of `data_received`.
        self._request_ended = False
        # True if body bytes have arrived since the last call of `data_received`.
        self._body_came = False
        self._head_timer: asyncio.TimerHandle | None = None
        # Nothing more is read: pending requests are answered, then the connection closes.
        self._closing = False
        # Requests that are not answered though the next one has arrived, oldest first.
        # uvicorn tells only the newest request that the caller has disconnected.
        self._earlier: deque[Any] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._arm_head_timer()
        if not self.services.connections.add(self):
            self._refuse(503, "too many connections; retry later", "too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_head_timer()
        self.services.connections.remove(self)
        super().connection_lost(exc)
        while self._earlier:
            self.abandon(self._earlier.popleft())

    def abandon(self, cycle: Any) -> None:
        """Stop a request whose caller has disconnected."""
        if not cycle.response_complete:
            cycle.disconnected = True
        cycle.message_event.set()

    def evict(self) -> None:
        """Close the connection to make room; its next request is not complete."""
        self._closing = True
        self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there."""
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self.services.connections.wait(self)
        if not self._before_head_end and self.timeout_keep_alive_task is not None:
            # Nobody reads the rest of the body: it must not keep the connection.
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = self.loop.call_later(
                min(self.timeout_keep_alive, UNREAD_BODY_SECONDS), self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            refused = error.__context__
            if isinstance(refused, HeadRefusedError):
                self._refuse(refused.status, str(refused), refused.code)
            else:
                self._refuse(400, f"not HTTP/1.1: {error}", "malformed")
        else:
            self._apply_limits(len(data))

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    def _decline_upgrade(self) -> None:
        """Continue in HTTP/1.1 after an offer to upgrade, which Java's client makes first.

        The parser would treat everything after such a head, the body included, as the
        other protocol. It is therefore given the head again, without the offer.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("this is not a proxy")
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        lines = b"".join(b"%s: %s\r\n" % line for line in kept)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"%s %s HTTP/1.1\r\n%s\r\n" % (method, self.url, lines))

    def _apply_limits(self, count: int) -> None:
        """Apply the limits to an incomplete request after `count` more bytes."""
        answered = self.cycle is None or self.cycle.response_complete
        request_ended, self._request_ended = self._request_ended, False
        if not self._before_head_end and answered:
            return  # the rest of an unread body must not keep the connection alive
        if self._head_open or not (request_ended and answered):
            self._unset_keepalive_if_required()
        if request_ended:
            # Other requests came with these bytes: count only what is known of the open head.
            self._head_bytes = self._parsed_head_bytes() if self._head_open else 0
        elif self._head_open or not (self._before_head_end or self._body_came):
            # Chunk extensions and trailers also count: nothing else reads them.
            self._head_bytes += count
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the head is larger than {MAX_HEAD_BYTES} bytes", "head_too_large")
            return
        self._body_came = False
        if self._head_open or (self._before_head_end and answered and not request_ended):
            self._arm_head_timer()

    def _parsed_head_bytes(self) -> int:
        """Return the size of the open head as far as its fields have been parsed."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise HeadRefusedError(f"the request has more than {MAX_HEADERS} headers")
        for name, value in self.headers:
            if name == b"content-length" and len(value) > MAX_LENGTH_DIGITS:
                raise HeadRefusedError(
                    f"Content-Length has {len(value)} digits, more than {MAX_LENGTH_DIGITS}",
                    400,
                    "malformed",
                )
        self._before_head_end = self._head_open = False
        self._disarm_head_timer()
        self.services.connections.wait(self)
        if not self.parser.should_upgrade():
            self.handle_head()

    def handle_head(self) -> None:
        """Answer the request over ASGI, now that its head is complete."""
        while self._earlier and self._earlier[0].response_complete:
            self._earlier.popleft()
        if self.cycle is not None and not self.cycle.response_complete:
            self._earlier.append(self.cycle)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_came, self._head_bytes = True, 0
        self.handle_body(body)

    def handle_body(self, piece: bytes) -> None:
        """Handle a piece of the body."""
        super().on_body(piece)

    def on_message_complete(self) -> None:
        self._before_head_end = self._request_ended = True
        self.services.connections.answer(self)
        if not self.parser.should_upgrade():
            self.handle_end()

    def handle_end(self) -> None:
        """Handle the end of the request."""
        super().on_message_complete()

    def _arm_head_timer(self) -> None:
        if self._head_timer is None:
            patience = self.services.settings.limits.body_timeout_seconds
            self._head_timer = self.loop.call_later(patience, self._head_is_late)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_open:
            self._refuse(400, "the head did not arrive in time", "head_timeout")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer with an error and close: the start of the next request is unknown."""
        self._closing = True
        self._disarm_head_timer()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if not cycle.more_body:
                return  # responses are in order: this one would be taken for the pending one
            if cycle.response_started:
                self.transport.close()
        if self.pipeline or self.transport.is_closing():
            self.transport.close()
            return
        content = error_body(message, code, identity := new_request_id())
        self.services.access_log.write({"request_id": identity}, "-", "-", status, 0.0)
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nx-request-id: %s\r\n" % identity.encode("ascii")
            + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(content)
            + content
        )
        self.transport.close()
