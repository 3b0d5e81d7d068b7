"""What predictions and sessions return."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nextvec.arrays import Vectors
from nextvec.errors import StatusError, TransportError
from nextvec.exchange import Reply

_DURATION = re.compile(r"(?P<name>[\w-]+)\s*;\s*dur=(?P<ms>\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ServerTiming:
    """Where the service spent its time, in milliseconds; None for what it did not report."""

    queue_ms: float | None = None
    inference_ms: float | None = None
    total_ms: float | None = None

    @classmethod
    def parse(cls, header: str) -> ServerTiming:
        """Parse the header `Server-Timing`."""
        found = {match["name"]: float(match["ms"]) for match in _DURATION.finditer(header)}
        return cls(found.get("queue"), found.get("inference"), found.get("total"))


@dataclass(frozen=True, eq=False)
class PredictedVector:
    """A prediction: `vector` `[dim]`, of unit length, and where it came from.

    `variant` is "stable" or "canary"; None for a version outside the split. `id` names the
    prediction for `feedback` and in the service's log. `length` is the session's after the append,
    None for a prediction without a session.
    """

    vector: Vectors = field(repr=False)
    id: str
    variant: str | None
    version: str
    timing: ServerTiming
    length: int | None = None

    @classmethod
    def of_reply(cls, reply: Reply, vector: Vectors, length: int | None = None) -> PredictedVector:
        """Read what the headers of `reply` say about `vector`."""
        headers = reply.headers
        return cls(
            vector,
            id=headers.get("x-request-id", ""),
            variant=headers.get("x-variant") or None,
            version=headers.get("x-model-version", ""),
            timing=ServerTiming.parse(headers.get("server-timing", "")),
            length=length,
        )


@dataclass(frozen=True, eq=False)
class StepResult:
    """One row of `steps`: the predicted `vector` `[dim]` and the session's length, or `error`."""

    session: str
    vector: Vectors | None = field(default=None, repr=False)
    length: int | None = None
    error: StatusError | TransportError | None = None

    def unwrap(self) -> Vectors:
        """Return the vector `[dim]`. Raises `error` if the row failed."""
        if self.error is not None:
            raise self.error
        assert self.vector is not None
        return self.vector


@dataclass(frozen=True)
class SessionInfo:
    """A session as the service has it. `bytes` is its memory there."""

    id: str
    length: int
    variant: str | None
    version: str
    bytes: int

    @classmethod
    def of_json(cls, body: Mapping[str, object]) -> SessionInfo:
        """Read the answer of `GET /v1/sessions/{id}`. Raises `KeyError` or `ValueError`."""
        variant = body["variant"]
        return cls(
            id=str(body["id"]),
            length=int(str(body["length"])),
            variant=None if variant is None else str(variant),
            version=str(body["version"]),
            bytes=int(str(body["bytes"])),
        )
