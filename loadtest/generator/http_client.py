"""A minimal HTTP/1.1 client for the load generator: a keep-alive pool over httptools.

Other requests use httpx. The load generator often shares its cores with the server, so the
client's CPU time distorts the measurement. ADR 20 compares the clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools
import orjson

_IDLE_SECONDS = 4.0
"""Connections that were idle for longer are not reused. Many servers close them after 5 s, and
a request sent at that moment would be counted as an error of the server."""


class ClientError(Exception):
    """There is no complete response: refused, closed early, not HTTP, or timed out."""


@dataclass(frozen=True)
class HttpResponse:
    """A response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Parse the body. Raises `ClientError` if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise ClientError(f"status {self.status} with a body that is not JSON") from error


class HttpClient:
    """Sends requests to one server, with one connection for each request in flight."""

    def __init__(self, url: str, timeout: float = 30.0, api_key: str | None = None) -> None:
        """`url` is `http://host[:port]`. `timeout` limits a whole request, in seconds.

        `api_key` is sent with every request.

        Raises `ValueError` for any other form of URL.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError(f"{url!r} is not of the form http://host:port")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._host_header = parts.netloc
        self._timeout = timeout
        self._fields = {} if api_key is None else {"X-API-Key": api_key}
        # Last in, first out: surplus connections of a peak stay idle and time out.
        self._idle: list[_ClientConnection] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        return self._host, self._port

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
    ) -> HttpResponse:
        """Send a request and return its response, whatever its status. Raises `ClientError`."""
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connection()
                try:
                    return await connection.exchange(self._head(method, path, headers, body), body)
                finally:
                    # A connection of a cancelled request may still receive the old response.
                    if connection.reusable:
                        self._idle.append(connection)
                    else:
                        connection.close()
        except TimeoutError as error:
            raise ClientError(f"no response within {self._timeout:g} s") from error
        except OSError as error:
            raise ClientError(f"{self._host}:{self._port}: {error}") from error

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _ClientConnection:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and loop.time() - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()
        _, connection = await loop.create_connection(_ClientConnection, self._host, self._port)
        return connection

    def _head(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes | memoryview
    ) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in {**self._fields, **(headers or {})}.items()]
        lines += [f"Content-Length: {len(body)}", "\r\n"]
        return "\r\n".join(lines).encode("latin-1")


@dataclass(eq=False)
class _ClientConnection(asyncio.Protocol):
    """A connection with at most one request in flight. It is its own httptools callback."""

    reusable: bool = False
    idle_since: float = 0.0
    _transport: asyncio.Transport | None = None
    _parser: httptools.HttpResponseParser | None = None
    _answer: asyncio.Future[HttpResponse] | None = None
    _headers: dict[str, str] = field(default_factory=dict)
    _body: list[bytes] = field(default_factory=list)

    async def exchange(self, head: bytes, body: bytes | memoryview) -> HttpResponse:
        assert self._transport is not None, "the connection is open"
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body = {}, []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head)
        if body:
            self._transport.write(body)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()  # bytes without a request
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not an HTTP/1.1 response: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        self._fail(f"connection closed before the response was complete: {exc or 'by the server'}")

    # Called by httptools.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._parser.get_status_code() < 200:
            self._headers, self._body = {}, []  # an interim response (1xx); the final one follows
            return
        self.reusable = self._parser.should_keep_alive()
        self.idle_since = asyncio.get_running_loop().time()
        response = HttpResponse(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self._parser = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ClientError(reason))
