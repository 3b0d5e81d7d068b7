"""Spans through OpenTelemetry. Without a tracer nothing is recorded, at next to no cost.

The functions of this module act on the current `RequestScope`: its `trace` is the span
that is being recorded, and `traceparent` is what outgoing requests carry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.trace import SpanKind, StatusCode

from service.observability import request_scope
from service.observability.request_scope import RequestScope
from service.observability.trace_context import TraceParent, parse_traceparent

INTERNAL = SpanKind.INTERNAL
CLIENT = SpanKind.CLIENT


class ActiveSpan:
    """A span that is being recorded, to which children can be added."""

    __slots__ = ("_context", "_tracer", "span")

    def __init__(self, tracer: otel.Tracer, span: otel.Span) -> None:
        self._tracer = tracer
        self.span = span
        self._context = otel.set_span_in_context(span)

    def add(self, name: str, began_ns: int, ended_ns: int, **attributes: Any) -> None:
        """Add a child that has ended; the times are nanoseconds since the epoch."""
        child = self._tracer.start_span(
            name, self._context, attributes=attributes, start_time=began_ns
        )
        child.end(ended_ns)

    def begin(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> ActiveSpan:
        """Begin a child."""
        span = self._tracer.start_span(name, self._context, kind, dict(attributes))
        return ActiveSpan(self._tracer, span)

    def enter(self, scope: RequestScope) -> None:
        """Make this the span of `scope`."""
        found = self.span.get_span_context()
        trace_id = f"{found.trace_id:032x}"
        scope["trace"] = self
        scope["trace_id"] = trace_id
        scope["traceparent"] = str(
            TraceParent(trace_id, f"{found.span_id:016x}", int(found.trace_flags))
        )
        if found.trace_flags.sampled:
            scope["exemplar"] = {"trace_id": trace_id}

    def end(self, error: str | None = None) -> None:
        """End the span; `error` is the kind of the failure, if it failed."""
        if error is not None:
            self.span.set_attribute("error.type", error)
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


class TraceRecorder:
    """Begins the traces of one service. Without `tracer` there are none."""

    def __init__(self, tracer: otel.Tracer | None = None) -> None:
        self._tracer = tracer

    @property
    def enabled(self) -> bool:
        """Whether spans are recorded."""
        return self._tracer is not None

    def begin_request(self, scope: RequestScope, traceparent: str | None) -> None:
        """Begin the span of an incoming request, in the trace of `traceparent` if it is valid."""
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        if self._tracer is not None:
            self._begin("request", scope, parent, SpanKind.SERVER)
        elif parent is not None:
            # Passed on unchanged, so that the caller's trace finds this service's lines.
            scope["trace_id"] = parent.trace_id
            scope["traceparent"] = str(parent)
            if parent.is_sampled:
                scope["exemplar"] = {"trace_id": parent.trace_id}

    def continue_request(self, scope: RequestScope, traceparent: str | None) -> None:
        """Record the rest of a request whose span another process records as `traceparent`."""
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        if parent is None:
            return
        if self._tracer is None:
            self.begin_request(scope, traceparent)
        else:
            ActiveSpan(self._tracer, otel.NonRecordingSpan(_remote(parent))).enter(scope)

    @contextmanager
    def root(self, name: str, traceparent: str | None = None) -> Iterator[None]:
        """Record the work of the block as a trace, or as a part of `traceparent`'s."""
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        scope: RequestScope = {}
        if self._tracer is not None:
            self._begin(name, scope, parent, SpanKind.INTERNAL)
        elif parent is not None:
            scope.update(trace_id=parent.trace_id, traceparent=str(parent))
        else:
            yield
            return
        with _entered(scope):
            yield

    def _begin(
        self, name: str, scope: RequestScope, parent: TraceParent | None, kind: SpanKind
    ) -> None:
        assert self._tracer is not None
        context = None
        if parent is not None:
            context = otel.set_span_in_context(otel.NonRecordingSpan(_remote(parent)))
        span = self._tracer.start_span(name, context, kind)
        ActiveSpan(self._tracer, span).enter(scope)


def _remote(parent: TraceParent) -> otel.SpanContext:
    return otel.SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=otel.TraceFlags(parent.flags),
    )


def end_request(scope: RequestScope, method: str, route: str, status: int) -> None:
    """End the span of the request. `route` is its template; empty if no route matched."""
    active: ActiveSpan | None = scope.pop("trace", None)
    if active is None:
        return
    active.span.update_name(f"{method} {route}".rstrip())
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "nextvec.request_id": scope["request_id"],
    }
    if route:
        attributes["http.route"] = route
    for name in ("variant", "version"):
        if scope.get(name) is not None:
            attributes[f"nextvec.{name}"] = str(scope[name])
    if (session := scope.get("session")) is not None:
        attributes["nextvec.session"] = request_scope.session_hash(session)
    active.span.set_attributes(attributes)
    active.end(str(status) if status >= 500 else None)


def current() -> ActiveSpan | None:
    """Return the span that is being recorded, or None."""
    scope = request_scope.current()
    return None if scope is None else scope.get("trace")


def exemplar() -> dict[str, str] | None:
    """Return the labels of an exemplar in the current trace; None if nobody records it."""
    scope = request_scope.current()
    return None if scope is None else scope.get("exemplar")


def now_ns() -> int:
    """Return the time of a span's edge, in nanoseconds since the epoch."""
    return time.time_ns()


@contextmanager
def child(name: str, kind: SpanKind = INTERNAL, **attributes: Any) -> Iterator[None]:
    """Record the block as a child of the current span, if there is one."""
    scope = request_scope.current()
    active = None if scope is None else scope.get("trace")
    if scope is None or active is None:
        yield
        return
    inner = dict(scope)
    active.begin(name, kind, attributes).enter(inner)
    with _entered(inner):
        yield


def outgoing_headers() -> dict[str, str]:
    """Return the header that continues the current trace in an outgoing request."""
    scope = request_scope.current()
    traceparent = None if scope is None else scope.get("traceparent")
    return {} if traceparent is None else {"traceparent": traceparent}


@contextmanager
def _entered(scope: RequestScope) -> Iterator[None]:
    """Make `scope` the current one for the block, and end its span."""
    active: ActiveSpan | None = scope.get("trace")
    error: str | None = None
    with request_scope.entered(scope):
        try:
            yield
        except BaseException as raised:
            # The type only: a message may quote an address or a caller.
            error = type(raised).__name__
            raise
        finally:
            if active is not None:
                active.end(error)
