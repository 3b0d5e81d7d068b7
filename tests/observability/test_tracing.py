"""Spans of requests and of the rollout, recorded by the SDK in memory."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.observability import request_scope, tracing
from service.observability.tracing import TraceRecorder, end_request

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return TraceRecorder(provider.get_tracer("test"))


def spans(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def begun(traces, traceparent=None):
    scope = {"request_id": "r-1"}
    traces.begin_request(scope, traceparent)
    return scope


def test_a_request_continues_its_callers_trace(traces, exporter):
    scope = begun(traces, PARENT)
    scope.update(variant="canary", version="phase-3", session="alice")
    end_request(scope, "POST", "/v1/predict", 200)
    (span,) = exporter.get_finished_spans()

    assert "POST /v1/predict" == span.name
    assert SpanKind.SERVER is span.kind
    assert (int(TRACE, 16), int(SPAN, 16)) == (span.context.trace_id, span.parent.span_id)
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/predict",
        "http.response.status_code": 200,
        "nextvec.request_id": "r-1",
        "nextvec.variant": "canary",
        "nextvec.version": "phase-3",
        "nextvec.session": request_scope.session_hash("alice"),
    } == dict(span.attributes)


@pytest.mark.parametrize("header", [None, "", "nonsense", f"00-{'0' * 32}-{SPAN}-01"])
def test_an_invalid_header_begins_a_new_trace(traces, exporter, header):
    end_request(begun(traces, header), "GET", "", 500)
    (span,) = exporter.get_finished_spans()

    assert span.parent is None
    assert StatusCode.ERROR is span.status.status_code


def test_the_scope_names_the_trace_for_logs_exemplars_and_outgoing_requests(traces):
    with request_scope.entered(begun(traces, PARENT)):
        assert TRACE == request_scope.current()["trace_id"]
        assert {"trace_id": TRACE} == tracing.exemplar()
        sent = tracing.outgoing_headers()["traceparent"]

    assert sent.startswith(f"00-{TRACE}-")
    assert SPAN not in sent, "the parent of what follows is this service's span"


def test_a_trace_that_is_not_recorded_gives_no_exemplar(traces):
    with request_scope.entered(begun(traces, f"00-{TRACE}-{SPAN}-00")):
        assert tracing.exemplar() is None


def test_children_nest_and_failures_show_their_type_only(traces, exporter):
    with pytest.raises(KeyError), traces.root("outer"), tracing.child("inner", step=1):
        raise KeyError("secret")
    found = spans(exporter)

    assert found["outer"].context.span_id == found["inner"].parent.span_id
    assert {"step": 1, "error.type": "KeyError"} == dict(found["inner"].attributes)
    assert "secret" not in found["inner"].to_json() + found["outer"].to_json()


def test_without_a_tracer_a_valid_header_is_passed_on_unchanged():
    scope = begun(TraceRecorder(), PARENT)
    with request_scope.entered(scope), tracing.child("inner"):
        assert {"traceparent": PARENT} == tracing.outgoing_headers()
        assert tracing.current() is None
    end_request(scope, "POST", "/v1/predict", 200)


def test_without_a_tracer_and_a_header_there_is_nothing():
    with TraceRecorder().root("work"), tracing.child("inner"):
        assert {} == tracing.outgoing_headers()
        assert request_scope.current() is None


async def test_a_request_has_spans_for_its_parts(start_traced, exporter, caplog):
    """Server, session store, queue, engine; the log line has the trace."""
    caplog.set_level(logging.INFO)
    async with start_traced(log={"access_share": 1}) as service:
        answer = await service.client.post(
            "/v1/sessions/alice/vectors",
            json={"vectors": [[1, 0, 0, 0]]},
            headers={"traceparent": PARENT},
        )
        assert answer.status_code == 200
        await service.client.post("/v1/predict", json={"context": [[1, 0, 0, 0]]})
    found = spans(exporter)
    request = found["POST /v1/sessions/{session_id}/vectors"]

    for name in ("session store", "queue", "engine"):
        child = next(
            span
            for span in exporter.get_finished_spans()
            if span.name == name and span.context.trace_id == int(TRACE, 16)
        )
        assert request.context.span_id == child.parent.span_id
        assert request.start_time <= child.start_time <= child.end_time
    assert "prefix cache" in found
    lines = [record.nextvec_fields for record in caplog.records if record.message == "request"]
    assert TRACE == lines[0]["trace_id"]
    assert "/v1/sessions/{session_id}/vectors" == lines[0]["path"]
    assert "alice" not in str(lines) + request.to_json()


async def test_the_rows_of_a_request_do_not_share_a_session(start, caplog):
    """The line of a request for many sessions names none of them."""
    caplog.set_level(logging.INFO)
    async with start(log={"access_share": 1}) as service:
        steps = [{"session": name, "vector": [1, 0, 0, 0]} for name in ("alice", "bob")]
        answer = await service.client.post("/v1/steps", json={"steps": steps})
        assert answer.status_code == 200
    (line,) = (record.nextvec_fields for record in caplog.records if record.message == "request")

    assert "session" not in line


async def test_a_rollout_has_spans_for_evidence_verdict_and_store(start_traced, exporter):
    async with start_traced() as service:
        await service.admin("POST", json={"canary": "phase-3"}, headers={"traceparent": PARENT})
        await service.controller.prepared()
        await service.controller.tick()
    found = spans(exporter)
    analysis = found["rollout analysis"].context

    for name in ("evidence", "verdict"):
        assert analysis.span_id == found[name].parent.span_id
    stored = [s for s in exporter.get_finished_spans() if s.name == "rollout store"]
    assert any(span.context.trace_id == int(TRACE, 16) for span in stored)
    assert "POST /admin/v1/rollout" in found
