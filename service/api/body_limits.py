"""Limits on the size and the duration of bodies, for every route."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Malformed, QueueFull, TooLarge
from service.settings import LimitSettings

SMALL_BODY_BYTES = 64 * 1024
"""Limit for bodies without contexts: those of the admin API and of the repository."""

_CONTEXT_PATHS = ("/v1/", "/v2/models/")


class BodyBudget:
    """The memory of all bodies that are held at once, on both server paths."""

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self._held = 0

    def limit(self, path: str) -> int:
        """Return the largest size of a body that is sent to `path`."""
        most = self.limits.max_body_bytes
        return most if path.startswith(_CONTEXT_PATHS) else min(most, SMALL_BODY_BYTES)

    def reserve(self, size: int, received: int, most: int | None = None) -> None:
        """Count `size` more bytes of a body of which `received` bytes have arrived in all.

        Raises `TooLarge` above `most` bytes (None: `max_body_bytes`), or `QueueFull`. The
        bytes are counted even then, until `release`.
        """
        self._held += size
        most = self.limits.max_body_bytes if most is None else most
        if received > most:
            raise too_large_error(most)
        if self._held > self.limits.max_held_bytes:
            raise QueueFull("too many large requests at once; retry later", 1.0)

    def release(self, size: int) -> None:
        """Stop counting `size` bytes."""
        self._held -= size

    def timeout_error(self) -> Malformed:
        """Return the error for a body that stalled."""
        return Malformed("the body did not arrive in time", code="body_timeout")


def too_large_error(most: int) -> TooLarge:
    """Return the error for a body that is, or declares itself, larger than `most` bytes."""
    return TooLarge(f"the body is larger than {most} bytes")


class BodyLimitMiddleware:
    """ASGI middleware: `receive` raises `TooLarge`, `Malformed` when a body stalls,
    or `QueueFull` when all bodies together take too much memory.
    """

    def __init__(self, app: ASGIApp, bodies: BodyBudget) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._bodies.limit(scope["path"].removeprefix(scope.get("root_path", "")))
        declared = _declared_length(scope)
        patience = self._bodies.limits.body_timeout_seconds
        deadline = asyncio.get_running_loop().time() + patience
        received = 0
        complete = False

        async def receive_within_limits() -> Message:
            nonlocal received, complete
            if complete:  # only a disconnect can follow, at any time
                return await receive()
            if declared > most:
                raise too_large_error(most)
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise self._bodies.timeout_error() from error
            size = len(message.get("body", b""))
            received += size
            self._bodies.reserve(size, received, most)
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_within_limits, send)
        finally:
            self._bodies.release(received)


def _declared_length(scope: Scope) -> int:
    """Return the declared content length, or 0. `Connection` bounds its digits."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
