"""The fast path of predictions: from the parser to the dispatch, and back in one write.

A step takes the engine between a fraction of a millisecond and two, and the framework
with its middleware would take as long again. A prediction request with a declared length
is therefore answered here, by the same handlers and with the same errors, headers and
limits as over ASGI. Every other or unusual request goes through the framework.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api import errors, request_context
from service.api.access.api_keys import LimitedCaller
from service.api.codecs.vectors import JSON_TYPE
from service.api.connection import Connection
from service.api.exchange import Exchange
from service.api.http_call import Handler, HttpCall, note_prediction
from service.api.parameters import check_headers
from service.api.routes import open_inference, predict, sessions, steps
from service.errors import NextvecError, QueueFull
from service.observability import request_scope, tracing
from service.observability.request_scope import RequestScope

logger = logging.getLogger(__name__)

_PATHS = re.compile(
    # Segments without "%": the framework decodes escapes.
    rb"/v1/predict|(?P<steps>/v1/steps)|/v1/sessions/(?P<session>[!$&-.0-~]+)/vectors"
    rb"|/v2/models/(?P<model>[!$&-.0-~]+)(?:/versions/(?P<version>[!$&-.0-~]+))?/infer"
)


_PROBES: Mapping[bytes, tuple[None, str, None]] = {
    path.encode(): (None, path, None) for path in ("/v2/health/live", "/v2/health/ready")
}
_BODY_HEADERS = (b"content-length", b"transfer-encoding")


def _route(path: bytes) -> tuple[Handler, str] | None:
    """Return the handler of a path and the route's template, or None."""
    found = _PATHS.fullmatch(path)
    if found is None:
        return None
    steps_path, session, model, version = (part and part.decode("ascii") for part in found.groups())
    if steps_path:
        return steps.handle_steps, "/v1/steps"
    if session:
        return partial(sessions.handle_append, session), "/v1/sessions/{session_id}/vectors"
    if model:
        handler = partial(open_inference.handle_infer, model, version or None)
        middle = "/versions/{version}" if version else ""
        return handler, f"/v2/models/{{model}}{middle}/infer"
    return predict.handle_predict, "/v1/predict"


class FastPath(Connection):
    """A connection that answers predictions without the framework."""

    def handle_head(self) -> None:
        """Take the fast path if the request allows it, else ASGI."""
        found = self._handler()
        if found is None:
            super().handle_head()
            if self.services.draining:
                self.cycle.keep_alive = False
            return
        exchange = Exchange(*found, self.headers, self.url.partition(b"?")[2])
        exchange.keep_alive = self.parser.should_keep_alive() and not self.services.draining
        self.cycle = exchange  # type: ignore[assignment]  # it has the attributes that the protocol uses

    def _handler(self) -> tuple[Handler | None, str, LimitedCaller | None] | None:
        """Return handler, route and caller of a request that can be answered here, or None."""
        # Behind a pending response, or a caller that does not read, a request waits in
        # the framework's queue.
        if (
            self.parser.get_http_version() != "1.1"
            or not (self.cycle is None or self.cycle.response_complete)
            or self.flow.write_paused
        ):
            return None
        if self.services.settings.http.cors_origins and self._has_header(b"origin"):
            return None  # the framework's middleware answers it
        path = self.url.partition(b"?")[0]
        method = self.parser.get_method()
        if method == b"POST":
            return self._prediction(path)
        if method == b"GET" and not self._has_header(*_BODY_HEADERS):
            return _PROBES.get(self.url)  # one with a query is refused by the framework
        return None

    def _prediction(self, path: bytes) -> tuple[Handler, str, LimitedCaller | None] | None:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        most = self.services.settings.limits.max_body_bytes
        if self.expect_100_continue or not lengths or int(lengths[0]) > most:
            return None
        found = _route(path)
        if found is None:
            return None
        keys = self.services.keys
        caller = keys.find(self.headers) if keys.required else None
        # The framework refuses a missing or wrong key, which may take its time.
        return None if keys.required and caller is None else (*found, caller)

    def _has_header(self, *names: bytes) -> bool:
        return any(name in names for name, _value in self.headers)

    def handle_body(self, piece: bytes) -> None:
        exchange = self.cycle
        if not isinstance(exchange, Exchange):
            super().handle_body(piece)
            return
        if exchange.response_complete:
            return
        exchange.parts.append(piece)
        exchange.held_bytes += len(piece)
        try:
            self.services.bodies.reserve(len(piece), exchange.held_bytes)
        except NextvecError as error:
            self._fail(exchange, error)

    def handle_end(self) -> None:
        super().handle_end()
        exchange = self.cycle
        if isinstance(exchange, Exchange) and not exchange.response_complete:
            exchange.stop_body_timer()
            if exchange.handler is None:
                self._answer_probe(exchange)
                return
            try:
                self.services.in_flight.enter()
            except QueueFull as error:
                self._refuse_early(exchange, error)
                return
            exchange.arrived = time.perf_counter()
            self.services.starts.put(partial(self._start, exchange))

    def _start(self, exchange: Exchange) -> None:
        if exchange.disconnected or self.transport.is_closing():
            self.services.in_flight.leave()
            self._release(exchange)
            return
        exchange.task = self.loop.create_task(self._serve(exchange))
        self.tasks.add(exchange.task)
        exchange.task.add_done_callback(self._finish)

    def _apply_limits(self, count: int) -> None:
        super()._apply_limits(count)
        exchange = self.cycle
        if isinstance(exchange, Exchange) and exchange.more_body and exchange.body_timer is None:
            bodies = self.services.bodies
            patience = bodies.limits.body_timeout_seconds
            exchange.body_timer = self.loop.call_later(
                patience, self._fail, exchange, bodies.timeout_error()
            )

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.cycle, Exchange):
            self.abandon(self.cycle)

    def abandon(self, cycle: Any) -> None:
        super().abandon(cycle)
        if isinstance(cycle, Exchange):
            if cycle.task is not None:
                cycle.task.cancel()
            self._release(cycle)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.services.in_flight.leave()

    def _answer_probe(self, exchange: Exchange) -> None:
        """Answer a health check at once: nothing that waits for its turn can delay it."""
        ready = self.services.ready
        status = 200 if ready or exchange.route.endswith("live") else 503
        content = b'{"live":true,"ready":%b}' % (b"true" if ready else b"false")
        self._answer(exchange, self._begin(exchange), status, content, {})

    def _refuse_early(self, exchange: Exchange, error: QueueFull) -> None:
        """Refuse a request that nothing is known of but its path, at little cost."""
        self.services.on_refusal()
        state = self._begin(exchange)
        self._answer(exchange, state, *errors.render_error(error, state))

    async def _serve(self, exchange: Exchange) -> None:
        state = self._begin(exchange)
        request_scope.enter(state)
        identity: str = state["request_id"]
        try:
            self.services.check_accepting()
            assert exchange.handler is not None
            check_headers(exchange.headers)
            if exchange.caller is not None:
                state["caller"] = exchange.caller.name
                await exchange.caller.take_request()
            reply = await exchange.handler(self._call(exchange, identity))
        except NextvecError as error:
            self._answer(exchange, state, *errors.render_error(error, state))
        except asyncio.CancelledError:
            self.transport.close()
            self._record(exchange, state, 499)
            raise
        except Exception:
            logger.exception("request %s failed", identity)
            self._answer(exchange, state, 500, errors.internal_error_body(identity), {})
        else:
            note_prediction(state, reply.prediction)
            more = reply.headers or {}
            self._answer(exchange, state, 200, reply.content, more, reply.media_type)

    def _call(self, exchange: Exchange, identity: str) -> HttpCall:
        parts = exchange.parts
        # Of several headers with one name, the first counts.
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in reversed(exchange.headers)}
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        exchange.parts = []
        query = exchange.query.decode("latin-1")
        return HttpCall(
            self.services,
            identity,
            headers,
            query,
            content,
            exchange.caller,
            exchange.arrived,
        )

    def _fail(self, exchange: Exchange, error: NextvecError) -> None:
        """Answer before the body is complete, without waiting for the rest."""
        exchange.keep_alive = False
        state = self._begin(exchange)
        self._answer(exchange, state, *errors.render_error(error, state))

    def _begin(self, exchange: Exchange) -> RequestScope:
        state: RequestScope = {}
        request_context.begin(state, exchange.headers, self.services.tracing)
        return state

    def _record(self, exchange: Exchange, state: RequestScope, status: int) -> None:
        """Write the request's access log line and end its span."""
        services = self.services
        if services.access_log.enabled:
            seconds = time.perf_counter() - exchange.began
            services.access_log.write(state, exchange.method, exchange.route, status, seconds)
        if "trace" in state:
            tracing.end_request(state, exchange.method, exchange.route, status)

    def _answer(
        self,
        exchange: Exchange,
        state: RequestScope,
        status: int,
        content: bytes,
        headers: Mapping[str, str],
        media_type: str = JSON_TYPE,
    ) -> None:
        self._release(exchange)
        if exchange.disconnected or self.transport.is_closing():
            self._record(exchange, state, 499)
            return
        exchange.response_started = exchange.response_complete = True
        lines = [
            *self.server_state.default_headers,
            (b"content-length", b"%d" % len(content)),
            (b"content-type", media_type.encode("ascii")),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()),
            *request_context.headers(state, time.perf_counter() - exchange.began),
        ]
        if not exchange.keep_alive:
            lines.append((b"connection", b"close"))
        head = b"".join([b"%s: %s\r\n" % line for line in lines])
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[status], head, content))
        self._record(exchange, state, status)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _release(self, exchange: Exchange) -> None:
        exchange.stop_body_timer()
        self.services.bodies.release(exchange.held_bytes)
        exchange.held_bytes, exchange.parts = 0, []
