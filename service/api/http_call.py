"""A prediction request and its reply, independent of the server path that carried it.

Requests arrive on two paths: through the framework and its middleware
(`answer_over_asgi`), or through the server's fast path (`fast_path.py`). Both call
the same handlers, which turn an `HttpCall` into an `HttpReply`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from service.api import parameters
from service.api.access.api_keys import LimitedCaller
from service.api.body_limits import too_large_error
from service.api.edge import Edge
from service.api.request_headers import caller_digest
from service.api.services import accepting_services
from service.contexts.session_quota import SessionQuota
from service.errors import Cancelled
from service.prediction.request import Prediction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request.

    `headers` maps lower-case names to the first value of each; `query` is the raw query string.
    `caller` is the holder of its API key, or None where keys are off.
    """

    services: Edge
    request_id: str
    headers: Mapping[str, str]
    query: str
    content: bytes
    caller: LimitedCaller | None = None
    arrived: float = field(default_factory=time.perf_counter)
    """When the body was complete, by `time.perf_counter`."""

    @property
    def waited_seconds(self) -> float:
        """Seconds since the request arrived. The deadline counts from there."""
        return time.perf_counter() - self.arrived

    @property
    def caller_digest(self) -> bytes:
        """16 bytes that identify the caller to the prefix cache and to feedback."""
        return caller_digest(self.caller, self.headers)

    @property
    def owner(self) -> SessionQuota | None:
        """Whose sessions the request uses; None: everybody's."""
        return owner_of(self.caller)

    async def count_vectors(self, count: int) -> None:
        """Count the request's vectors for its caller. Raises `CallerLimited`."""
        if self.caller is not None:
            await self.caller.take_vectors(count)

    def check_query(self, *known: str) -> None:
        """Raise `Invalid` unless every query parameter is `known` and has one value."""
        only, _, value = self.query.partition("=")  # as in `parameter`
        if self.query and not (only in known and value.isalnum()):
            parameters.check_query(self.query, known)

    def parameter(self, name: str) -> str | None:
        """Return the value of a query parameter, or None."""
        # Parsing a query costs more than the rest of this class: skip it for the common
        # case of no parameter, or a single alphanumeric one.
        only, _, value = self.query.partition("=")
        if not self.query or (only == name and value.isalnum()):
            return value or None
        return dict(parse_qsl(self.query, keep_blank_values=True)).get(name)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A response with status 200.

    `prediction` supplies the headers on variant, version and time; None where there are several.
    """

    content: bytes
    media_type: str
    prediction: Prediction | None
    headers: Mapping[str, str] | None = None


Handler = Callable[[HttpCall], Coroutine[Any, Any, HttpReply]]
"""The code of a prediction route. Raises `NextvecError`."""


async def answer_over_asgi(request: Request, handler: Handler) -> Response:
    """Run `handler` for a framework request, and cancel it when the caller disconnects."""
    services = accepting_services(request)
    # Before the body: who may not call must not make the service read and hold megabytes.
    caller = await services.authenticator.caller(request)
    content = await read_body(request)
    state = request.scope["state"]
    call = HttpCall(
        services, state["request_id"], request.headers, request.url.query, content, caller
    )
    services.in_flight.enter()
    try:
        reply = await cancel_on_disconnect(request, handler(call))
    finally:
        services.in_flight.leave()
    note_prediction(state, reply.prediction)
    return Response(reply.content, 200, reply.headers, media_type=reply.media_type)


def owner_of(caller: LimitedCaller | None) -> SessionQuota | None:
    """Return whose sessions a caller uses; None: everybody's, where keys are off."""
    return None if caller is None else caller.quota


def note_prediction(state: dict[str, object], prediction: Prediction | None) -> None:
    """Store in `state` what `request_context.headers` reports: variant, version and timings."""
    if prediction is None:
        return
    state["variant"], state["version"] = prediction.route.variant, prediction.route.version
    state["queue"], state["inference"] = prediction.queue_seconds, prediction.inference_seconds


async def read_body(request: Request, most: int | None = None) -> bytes:
    """Return the whole body, of at most `most` bytes.

    Raises `TooLarge`, `Cancelled`, and what `BodyLimitMiddleware` raises.
    """
    parts, received = [], 0
    try:
        async for part in request.stream():
            parts.append(part)
            received += len(part)
            if most is not None and received > most:
                raise too_large_error(most)
    except ClientDisconnect as error:
        raise Cancelled("the caller disconnected") from error
    return b"".join(parts)


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`. When the caller disconnects, cancel it and raise `Cancelled`."""
    # The work runs in the request's own task and only the watcher in another one:
    # waiting for two tasks would cost more than the rest of the request.
    task = asyncio.current_task()
    assert task is not None
    watcher = asyncio.ensure_future(_wait_for_disconnect(request))
    finished = disconnected = False

    def cancel_work(watch: asyncio.Future[None]) -> None:
        nonlocal disconnected
        if not (finished or watch.cancelled()):
            disconnected = True
            task.cancel()

    watcher.add_done_callback(cancel_work)
    try:
        return await work
    except asyncio.CancelledError:
        if disconnected and task.uncancel() == 0:
            raise Cancelled("the caller disconnected") from None
        raise
    finally:
        finished = True
        watcher.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    # An error here means that the connection is unusable: nobody is left to answer.
    with suppress(Exception):
        while (await request.receive())["type"] != "http.disconnect":
            pass
