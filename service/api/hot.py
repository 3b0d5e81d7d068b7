"""The routes that carry the predictions, past the framework's own way to them.

Of a step over HTTP the engine takes two milliseconds; the framework's routing,
dependency solving and exit stacks took a quarter of one. The functions called
here are the same that the framework documents and would call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import errors, predict, sessions
from service.errors import NextvecError

Handler = Callable[[Request], Awaitable[Response]]

_SESSIONS, _VECTORS = "/v1/sessions/", "/vectors"


class HotRoutes:
    """ASGI middleware: answers predictions itself, and hands on everything else.

    The innermost one, so that limits and headers are as for every route.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = _handler(scope)
        if handler is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except NextvecError as error:
            response = errors.answer(request, error)
        await response(scope, receive, send)


def _handler(scope: Scope) -> Handler | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path: str = scope["path"]
    if path == "/v1/predict":
        return predict.predict
    if path.startswith(_SESSIONS) and path.endswith(_VECTORS):
        session_id = path[len(_SESSIONS) : -len(_VECTORS)]
        if session_id and "/" not in session_id:
            scope["path_params"] = {"session_id": session_id}
            return sessions.append
    return None
