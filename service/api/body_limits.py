"""Limits on the size and the duration of bodies, for every route."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Malformed, QueueFull, TooLarge
from service.settings import LimitSettings


class BodyBudget:
    """The memory of all bodies that are held at once, on both server paths."""

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self._held = 0

    def reserve(self, size: int, received: int) -> None:
        """Count `size` more bytes of a body of which `received` bytes have arrived in all.

        Raises `TooLarge` or `QueueFull`. The bytes are counted even then, until `release`.
        """
        self._held += size
        if received > self.limits.max_body_bytes:
            raise self.too_large_error()
        if self._held > self.limits.max_held_bytes:
            raise QueueFull("too many large requests at once; retry later", 1.0)

    def release(self, size: int) -> None:
        """Stop counting `size` bytes."""
        self._held -= size

    def too_large_error(self) -> TooLarge:
        """Return the error for a body that is, or declares itself, too large."""
        return TooLarge(f"the body is larger than {self.limits.max_body_bytes} bytes")

    def timeout_error(self) -> Malformed:
        """Return the error for a body that stalled."""
        return Malformed("the body did not arrive in time", code="body_timeout")


class BodyLimitMiddleware:
    """ASGI middleware: `receive` raises `TooLarge`, `Malformed` when a body stalls,
    or `QueueFull` when all bodies together take too much memory.

    As middleware it also protects the admin API, whose bodies the framework reads
    before it checks the token.
    """

    def __init__(self, app: ASGIApp, bodies: BodyBudget) -> None:
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits = self._bodies.limits
        declared = _declared(scope)
        deadline = asyncio.get_running_loop().time() + limits.body_timeout_seconds
        received = 0
        complete = False

        async def receive_within_limits() -> Message:
            nonlocal received, complete
            if complete:  # only a disconnect can follow, at any time
                return await receive()
            if declared > limits.max_body_bytes:
                raise self._bodies.too_large_error()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise self._bodies.timeout_error() from error
            size = len(message.get("body", b""))
            received += size
            self._bodies.reserve(size, received)
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_within_limits, send)
        finally:
            self._bodies.release(received)


def _declared(scope: Scope) -> int:
    """Return the declared content length, or 0."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
