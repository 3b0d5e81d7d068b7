"""HEAD and OPTIONS on every route."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "POST")
"""The methods that routes declare."""


class MethodsMiddleware:
    """ASGI middleware: HEAD is answered as GET without a body, OPTIONS and 405 with `Allow`."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["type"] == "http" else ""
        if method == "HEAD":
            await self._answer_head(scope, receive, send)
        elif method == "OPTIONS" and (allowed := self._allowed(scope)):
            headers = [(b"allow", ", ".join(allowed).encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, self._naming_methods(scope, send))

    def _naming_methods(self, scope: Scope, send: Send) -> Send:
        """Return `send` with a complete `Allow` on a 405: the framework names one route's only."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                kept = [each for each in message["headers"] if each[0].lower() != b"allow"]
                allowed = ", ".join(self._allowed(scope)).encode()
                message = {**message, "headers": [*kept, (b"allow", allowed)]}
            await send(message)

        return send_named if scope["type"] == "http" else send

    async def _answer_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._naming_methods(scope, send)(message)
                return
            await send({"type": "http.response.body", "body": b""})
            raise _HeadAnsweredError  # also ends a response that would never end

        with suppress(_HeadAnsweredError):
            await self._app({**scope, "method": "GET"}, receive, send_without_body)

    def _allowed(self, scope: Scope) -> list[str]:
        """Return the methods of this path, or none for an unknown path."""
        allowed = [
            method
            for method in _METHODS
            if any(
                route.matches({**scope, "method": method})[0] is Match.FULL
                for route in self._routes
            )
        ]
        if "GET" in allowed:
            allowed.append("HEAD")
        return sorted([*allowed, "OPTIONS"]) if allowed else []


class _HeadAnsweredError(Exception):
    """The head of the response has been sent, which is all that HEAD asks for."""
