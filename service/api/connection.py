"""A connection: what a request's head may hold and how long it may take.

uvicorn's protocol over httptools bounds neither, and says so of bytes that are
no HTTP in plain text. Here the head has bounds, and what is refused before there
is a request is refused in the contract's form.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.errors import error_body
from service.api.request_context import request_id
from service.api.services import Services

MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024
"""Of a head that comes in more than one piece; the event loop reads at most 256 KiB in one."""


class HeadRefusedError(Exception):
    """A head over the limits. Raised in the parser's callbacks: it stops there."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with bounds for heads. Relies on its version's inner names:
    `pyproject.toml` bounds it, `tests/end_to_end/test_protocol_abuse.py` holds it to them.
    """

    def __init__(self, services: Services, **given: Any) -> None:
        super().__init__(**given)
        self.services = services
        # Between the end of one request and the end of the next one's head.
        self._before_head_end = True
        # Within a head.
        self._head_open = False
        self._head_bytes = 0
        # Since the last bytes that came.
        self._body_came = False
        self._head_timer: asyncio.TimerHandle | None = None
        # No more is read: what was asked before is answered, then it is closed.
        self._closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, HeadRefusedError):
                self._refuse(431, str(error.__context__), "head_too_large")
            else:
                self._refuse(400, f"this is not HTTP/1.1: {error}", "malformed")
        else:
            self._after(len(data))

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._decline()
            else:
                return

    def _decline(self) -> None:
        """Go on in HTTP/1.1 after an offer of another protocol, as Java's client makes one
        with its first request. The parser takes what follows such a head for the other
        protocol, a body too: it is given the head again, without the offer."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("this is no proxy")
        kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
        lines = b"".join(b"%s: %s\r\n" % line for line in kept)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"%s %s HTTP/1.1\r\n%s\r\n" % (method, self.url, lines))

    def _after(self, count: int) -> None:
        """Bounds in bytes and time for what has begun and is not complete."""
        answered = self.cycle is None or self.cycle.response_complete
        if not self._before_head_end and answered:
            return  # the rest of a body nobody reads: it does not keep the connection alive
        self._unset_keepalive_if_required()
        if self._head_open or not (self._before_head_end or self._body_came):
            # The latter are chunks' extensions and trailers: nobody reads them here.
            self._head_bytes += count
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"the head is over {MAX_HEAD_BYTES} bytes", "head_too_large")
                return
        self._body_came = False
        if self._before_head_end and (self._head_open or answered):
            self._arm_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise HeadRefusedError(f"there are more than {MAX_HEADERS} headers")
        self._before_head_end = self._head_open = False
        self._disarm_head_timer()
        if not self.parser.should_upgrade():
            self.begin()

    def begin(self) -> None:
        """A head is complete: answer the request, over ASGI."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_came, self._head_bytes = True, 0
        self.take(body)

    def take(self, piece: bytes) -> None:
        """A piece of the body has come."""
        super().on_body(piece)

    def on_message_complete(self) -> None:
        self._before_head_end = True
        if not self.parser.should_upgrade():
            self.completed()

    def completed(self) -> None:
        """The request is there, to its end."""
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
        """Answer so and close: where the next request begins cannot be known."""
        self._closing = True
        self._disarm_head_timer()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if not cycle.more_body:
                return  # answers go out in order, and this would be taken for another's
            if cycle.response_started:
                self.transport.close()
        if self.pipeline or self.transport.is_closing():
            self.transport.close()
            return
        content = error_body(message, code, identity := request_id(()))
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nx-request-id: %s\r\n" % identity.encode("ascii")
            + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(content)
            + content
        )
        self.transport.close()
