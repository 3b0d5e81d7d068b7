"""The requests of a flood, made ahead as bytes as far as they can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from loadtest.streams import Streams

_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
    "Accept: application/octet-stream\r\nX-Routing-Key: {key}\r\n{fields}"
    "Content-Length: {length}\r\n\r\n"
)
_SESSION_VECTORS = 64
"""Different vectors that a session's source sends, in turn."""


@dataclass(frozen=True)
class FloodTarget:
    """The server of a flood, and the API key that every request carries, if any."""

    host: str
    port: int
    api_key: str | None = None

    def request(self, path: str, key: str, body: bytes) -> bytes:
        """Return a POST of `body` with the routing key `key`."""
        fields = f"X-API-Key: {self.api_key}\r\n" if self.api_key else ""
        head = _HEAD.format(
            path=path, host=f"{self.host}:{self.port}", key=key, fields=fields, length=len(body)
        )
        return head.encode() + body


class RequestSource(Protocol):
    """Makes the requests of one connection."""

    def next(self) -> bytes:
        """Return the next request, head and body."""
        ...

    def note(self, status: int) -> None:
        """Note the status of the last request; 0 for none."""
        ...


@dataclass
class SessionRequests:
    """Appends one vector at a time to a session, and begins a new one after `limit`.

    It does not send positions: a refused append leaves the session as it was.
    """

    streams: Streams
    target: FloodTarget
    number: int
    limit: int
    run: str
    _begun: int = -1
    _left: int = 0
    _sent: int = 0
    _requests: list[bytes] = field(default_factory=list)

    def next(self) -> bytes:
        """Return the next append."""
        if not self._left:
            self._begin()
        self._sent += 1
        return self._requests[self._sent % len(self._requests)]

    def note(self, status: int) -> None:
        """Count an append; a session that is gone is followed by a new one."""
        if status == 200:
            self._left -= 1
        elif status in {404, 410}:
            self._left = 0

    def _begin(self) -> None:
        # The first sessions have different lengths, so that they do not all end together.
        self._left = self.limit if self._begun >= 0 else 1 + self.number % self.limit
        self._begun += 1
        name = f"{self.run}-{self.number}-{self._begun}"
        self._requests = [
            self.target.request(
                f"/v1/sessions/{name}/vectors",
                name,
                self.streams.read(self.number, i, 1).tobytes(),
            )
            for i in range(min(self.limit, _SESSION_VECTORS))
        ]


@dataclass
class ContextRequests:
    """Sends contexts of `length` vectors, of which none is the beginning of another."""

    streams: Streams
    target: FloodTarget
    number: int
    length: int
    run: str
    _sent: int = 0

    def next(self) -> bytes:
        """Return the next prediction request."""
        rows = self.streams.read(self.number, self._sent, self.length)
        key = f"{self.run}-{self.number}-{self._sent}"
        self._sent += 1
        return self.target.request("/v1/predict", key, rows.tobytes())

    def note(self, status: int) -> None:
        """Do nothing: contexts do not depend on one another."""
