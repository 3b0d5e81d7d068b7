"""How much a body may hold and how long it may take, for every route alike."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Malformed, QueueFull, TooLarge
from service.settings import LimitSettings


class BodyBudget:
    """The bytes of all bodies held at once, whichever way they came."""

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self._held = 0

    def take(self, size: int, received: int) -> None:
        """Hold `size` more bytes, of a body of which `received` have come with them.

        Raises `TooLarge` or `QueueFull`, and holds them all the same, until given back.
        """
        self._held += size
        if received > self.limits.max_body_bytes:
            raise self.too_large()
        if self._held > self.limits.max_held_bytes:
            raise QueueFull("too many large bodies at once; try again later", 1.0)

    def give_back(self, size: int) -> None:
        """Let go of `size` bytes."""
        self._held -= size

    def too_large(self) -> TooLarge:
        """The error of a body that is, or declares itself, over the limit."""
        return TooLarge(f"the body is over {self.limits.max_body_bytes} bytes")

    def late(self) -> Malformed:
        """The error of a body that stalled."""
        return Malformed("the body did not arrive in time", code="body_timeout")


class BodyLimitMiddleware:
    """ASGI middleware: `receive` raises `TooLarge`, `Malformed` when a body stalls,
    or `QueueFull` when all bodies together hold too much memory.

    Here and not in the routes, so that the admin API, whose bodies the framework
    reads before it asks for a token, is guarded as well.
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
            if complete:  # what follows is the caller's leaving, at any time
                return await receive()
            if declared > limits.max_body_bytes:
                raise self._bodies.too_large()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise self._bodies.late() from error
            size = len(message.get("body", b""))
            received += size
            self._bodies.take(size, received)
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_within_limits, send)
        finally:
            self._bodies.give_back(received)


def _declared(scope: Scope) -> int:
    """The content length the caller claims; 0 where it claims none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
