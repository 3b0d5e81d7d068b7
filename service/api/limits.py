"""How much a body may hold and how long it may take, for every route alike."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Malformed, TooLarge
from service.settings import Limits


class BodyLimits:
    """ASGI middleware: `receive` raises `TooLarge`, or `Malformed` when a body stalls.

    Here and not in the routes, so that the admin API, whose bodies the framework
    reads before it asks for a token, is guarded as well.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._limits.max_body_bytes
        over = f"the body is over {most} bytes"
        declared = _declared(scope)
        deadline = asyncio.get_running_loop().time() + self._limits.body_timeout_seconds
        received = 0
        complete = False

        async def receive_within_limits() -> Message:
            nonlocal received, complete
            if complete:  # what follows is the caller's leaving, at any time
                return await receive()
            if declared > most:
                raise TooLarge(over)
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise Malformed("the body did not arrive in time", code="body_timeout") from error
            received += len(message.get("body", b""))
            if received > most:
                raise TooLarge(over)
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_within_limits, send)


def _declared(scope: Scope) -> int:
    """The content length the caller claims; 0 where it claims none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
