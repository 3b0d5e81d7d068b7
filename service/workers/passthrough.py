"""HTTP requests that a worker hands to the engine process whole: all but predictions.

The engine process has the one application with its routes, its middleware and its counts. The
worker reads and writes for it. The caller's address and scheme travel in headers that only a
worker can send.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import error_body
from service.api.request_context import new_request_id

logger = logging.getLogger(__name__)

CLIENT_HEADER = b"x-nextvec-worker-client"
SCHEME_HEADER = b"x-nextvec-worker-scheme"

_BETWEEN_HOPS = frozenset(
    {
        *(b"connection", b"date", b"expect", b"keep-alive", b"proxy-connection", b"server"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", CLIENT_HEADER, SCHEME_HEADER),
    }
)
"""Headers that belong to one connection, or that the worker sets itself."""

_READ_BYTES = 64 * 1024


class CutOffError(Exception):
    """The engine process ended in the middle of a response."""


class Passthrough:
    """An ASGI application that lets the engine process answer. `connect()` opens a stream."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=self._connect())
        except OSError as error:
            logger.warning("no connection to the engine process: %s", error.strerror)
            await _answer_unavailable(send)
            return
        relay = _ResponseRelay(send, is_head=scope["method"] == "HEAD")
        sending = asyncio.create_task(_send_request(scope, receive, writer, relay))
        try:
            if not await relay.run(reader):
                await _answer_unavailable(send)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.transport.abort()


class _ResponseRelay:
    """Parses a response and sends it on, as the parser's callbacks are told of it."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._messages: list[dict[str, Any]] = []
        self._started = self._ended = False
        self.abandoned = False

    async def run(self, reader: asyncio.StreamReader) -> bool:
        """Relay the response. False if there was none. Raises `CutOffError` within one."""
        while not self._ended:
            try:
                data = await reader.read(_READ_BYTES)
            except ConnectionError:
                data = b""
            if self.abandoned:
                return True  # the caller has gone
            if not data:
                break
            self._parser.feed_data(data)
            messages, self._messages = self._messages, []
            for message in messages:
                await self._send(message)
        if self._started and not self._ended:
            raise CutOffError("the engine process ended in the middle of a response")
        return self._started

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = []
            return
        headers = [each for each in self._headers if each[0] not in _BETWEEN_HOPS]
        self._started = True
        self._messages.append({"type": "http.response.start", "status": status, "headers": headers})
        if self._is_head:
            self._end()

    def on_body(self, body: bytes) -> None:
        if not self._ended:
            self._messages.append({"type": "http.response.body", "body": body, "more_body": True})

    def on_message_complete(self) -> None:
        if self._started and not self._ended:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._messages.append({"type": "http.response.body", "body": b""})


async def _send_request(
    scope: Scope, receive: Receive, writer: asyncio.StreamWriter, relay: _ResponseRelay
) -> None:
    """Send the request, and close the stream when the caller disconnects.

    The engine process may answer, and close the stream, before it has read the body.
    """
    has_length = any(name == b"content-length" for name, _ in scope["headers"])
    has_body = has_length or any(name == b"transfer-encoding" for name, _ in scope["headers"])
    writer.write(_head(scope, is_chunked=has_body and not has_length))
    try:
        while (message := await receive())["type"] == "http.request":
            body = message.get("body", b"")
            if has_length:
                writer.write(body)
            elif body:
                writer.write(b"%x\r\n%b\r\n" % (len(body), body))
            if has_body and not has_length and not message.get("more_body", False):
                writer.write(b"0\r\n\r\n")
            await writer.drain()
    except ConnectionError:
        return
    relay.abandoned = True
    writer.transport.abort()


def _head(scope: Scope, *, is_chunked: bool) -> bytes:
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    client = scope.get("client")
    # Without `connection: close`: the engine process would close the stream with its answer, and an
    # answer that comes before the end of the body would be lost with it.
    lines = [
        b"%b %b HTTP/1.1" % (scope["method"].encode(), target),
        *(b"%b: %b" % each for each in scope["headers"] if each[0] not in _BETWEEN_HOPS),
        b"%b: %b" % (SCHEME_HEADER, scope["scheme"].encode()),
    ]
    if client:
        lines.append(b"%b: %b %d" % (CLIENT_HEADER, str(client[0]).encode(), client[1] or 0))
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join([*lines, b"", b""])


async def _answer_unavailable(send: Send) -> None:
    identity = new_request_id()
    body = error_body(
        "the engine process has ended; it starts again: wait for /v2/health/ready",
        "not_ready",
        identity,
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", identity.encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class ForwardedMiddleware:
    """ASGI middleware of the engine process: the client and the scheme that a worker saw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = []
            for name, value in scope["headers"]:
                if name == CLIENT_HEADER:
                    host, _, port = value.decode("latin-1").rpartition(" ")
                    scope["client"] = (host, int(port))
                elif name == SCHEME_HEADER:
                    scope["scheme"] = value.decode("latin-1")
                else:
                    kept.append((name, value))
            scope["headers"] = kept
        await self._app(scope, receive, send)
