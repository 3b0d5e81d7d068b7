"""Callers: each sends its whole context with every request, or appends to a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from loadtest.generator.http_client import ClientError, HttpClient, HttpResponse
from loadtest.streams import Streams
from service.types import Vectors

_BINARY = "application/octet-stream"


class Caller(Protocol):
    """A source of requests. A driver keeps at most one call of a caller in flight."""

    async def call(self) -> HttpResponse:
        """Send the next request. Raises `ClientError` if there is no response."""
        ...


@dataclass
class StatelessCaller:
    """Sends a context of `context` vectors each time, shifted by one vector.

    `run` is part of the routing key, so that two runs have different keys. With
    `key="request"` each request gets its own variant. With `key="caller"` a caller stays
    on one variant, and a few busy callers can dominate a comparison.
    """

    client: HttpClient
    streams: Streams
    number: int
    context: int
    run: str
    key: Literal["request", "caller"] = "request"
    sent: int = 0

    async def call(self) -> HttpResponse:
        rows = self.streams.read(self.number, self.sent, self.context)
        suffix = f"-{self.sent}" if self.key == "request" else ""
        self.sent += 1
        headers = {
            "Content-Type": _BINARY,
            "Accept": _BINARY,
            "X-Routing-Key": f"{self.run}-{self.number}{suffix}",
        }
        return await self.client.request("POST", "/v1/predict", headers, _bytes(rows))


@dataclass
class SessionCaller:
    """Appends one vector at a time to a session, and starts a new session after `limit`.

    After a lost response it sends the same vector at the same position again; the service
    processes such a retry once. If the session is gone, it sends all vectors of the
    session again. After a conflict it continues at the position that the response names.
    """

    client: HttpClient
    streams: Streams
    number: int
    limit: int
    run: str
    remaining: int
    """Vectors left in the current session. The first sessions have different lengths, so
    that they do not all end together."""
    begun: int = 0
    start: int = 0
    position: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    """Additional header fields of every request."""

    async def call(self) -> HttpResponse:
        if self.remaining <= 0:
            self.start += self.position
            self.begun, self.position, self.remaining = self.begun + 1, 0, self.limit
        response = await self._append(self.position, 1)
        if response.status in {404, 410} and self.position > 0:
            response = await self._append(0, self.position + 1)
        elif response.status == 409:
            self.position = _true_position(response)
            response = await self._append(self.position, 1)
        if response.status == 200:
            self.position += 1
            self.remaining -= 1
        return response

    @property
    def _path(self) -> str:
        return f"/v1/sessions/{self.run}-{self.number}-{self.begun}"

    async def _append(self, position: int, count: int) -> HttpResponse:
        rows = self.streams.read(self.number, self.start + position, count)
        return await self.client.request(
            "POST",
            f"{self._path}/vectors?position={position}",
            {"Content-Type": _BINARY, "Accept": _BINARY, **self.headers},
            _bytes(rows),
        )


def make_stateless_callers(
    client: HttpClient,
    streams: Streams,
    count: int,
    context: int,
    run: str,
    key: Literal["request", "caller"] = "request",
) -> list[Caller]:
    """`count` callers that send `context` vectors with every request."""
    return [StatelessCaller(client, streams, i, context, run, key) for i in range(count)]


def make_session_callers(
    client: HttpClient, streams: Streams, count: int, limit: int, run: str
) -> list[Caller]:
    """`count` callers that each append to one session of `limit` vectors at a time."""
    return [
        SessionCaller(client, streams, i, limit, run, remaining=1 + i * limit // count)
        for i in range(count)
    ]


def _true_position(conflict: HttpResponse) -> int:
    document = conflict.json()
    position = document.get("position") if isinstance(document, dict) else None
    if not isinstance(position, int):
        raise ClientError(f"status 409 without a position: {conflict.body[:200]!r}")
    return position


def _bytes(rows: Vectors) -> memoryview:
    return rows.data.cast("B")
