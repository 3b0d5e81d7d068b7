"""Headers of every response: request id, variant, version and timings."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import internal_error_body
from service.observability import request_scope, tracing
from service.observability.access_log import AccessLog
from service.observability.request_scope import RequestScope
from service.random_ids import draw_id

logger = logging.getLogger(__name__)

MAX_REQUEST_ID = 128
"""Characters of a request id."""

_USABLE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,%d}\Z" % MAX_REQUEST_ID)


class RequestContextMiddleware:
    """ASGI middleware that sets `scope["state"]["request_id"]` and adds the headers.

    A route stores `variant`, `version`, `queue` and `inference` (seconds) in
    `scope["state"]`; those that are present are sent, on error responses too.
    """

    def __init__(
        self, app: ASGIApp, *, access_log: AccessLog, traces: tracing.TraceRecorder
    ) -> None:
        self._app = app
        self._access_log = access_log
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = scope.setdefault("state", {})
        begin(state, scope["headers"], self._traces)
        request_scope.enter(state)

        started = False
        status = 499  # unless a response begins: the caller left

        async def send_with_headers(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *headers(state, time.perf_counter() - began),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            # Handled here because the framework's own handler is outside of this
            # middleware and would answer without the request id.
            if started:
                raise
            logger.exception("request %s failed", state["request_id"])
            content = internal_error_body(str(state["request_id"]))
            response = Response(content, 500, media_type="application/json")
            await response(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "")
            path, method = route or scope["path"], scope["method"]
            self._access_log.write(state, method, path, status, time.perf_counter() - began)
            tracing.end_request(state, method, route, status)


def begin(
    state: RequestScope, given: Iterable[tuple[bytes, bytes]], traces: tracing.TraceRecorder
) -> None:
    """Set the request's id and trace in `state`, by the headers that the caller sent.

    A valid `X-Request-Id` is kept; otherwise the id is new. An invalid `traceparent` is
    ignored, and so are several of them.
    """
    identity = traceparent = None
    for name, value in given:
        if name == b"x-request-id":
            if identity is None and _USABLE_ID.match(value):
                identity = value.decode("ascii")
        elif name == b"traceparent":
            traceparent = value.decode("latin-1") if traceparent is None else ""
    state["request_id"] = new_request_id() if identity is None else identity
    if traceparent is not None or traces.enabled:
        traces.begin_request(state, traceparent)


def new_request_id() -> str:
    """Return a random request id."""
    # An id is the key of a prediction that waits for its label, and stands for a routing key:
    # whoever sees some ids must not be able to compute others.
    return draw_id()


def headers(state: Mapping[str, Any], total: float) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response that took `total` seconds."""
    found = [(b"x-request-id", state["request_id"].encode("ascii"))]
    timing = b"total;dur=%.3f" % (total * 1000)
    if state.get("variant") is not None:
        found.append((b"x-variant", state["variant"].encode("ascii")))
    if "version" in state:
        found.append((b"x-model-version", state["version"].encode("ascii")))
    if "queue" in state:
        parts = (state["queue"] * 1000, state["inference"] * 1000)
        timing = b"queue;dur=%.3f, inference;dur=%.3f, %b" % (*parts, timing)
    found.append((b"server-timing", timing))
    return found
