"""The tracer that the settings ask for."""

from __future__ import annotations

import sys

import pytest

from service.observability.trace_export import TracingError, make_tracer
from service.settings.telemetry import TracingSettings


@pytest.fixture
def make():
    """Make tracers, and stop their exporters in the end."""
    stops = []

    def begin(**settings):
        tracer, stop = make_tracer(TracingSettings(**settings))
        stops.append(stop)
        return tracer

    yield begin
    for stop in stops:
        stop()


def test_off_there_is_no_tracer(make):
    assert make() is None


@pytest.mark.parametrize(("share", "sampled"), [(1.0, True), (0.0, False)])
def test_a_share_of_the_traces_is_recorded(make, monkeypatch, share, sampled):
    monkeypatch.setattr(
        "opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter.export",
        lambda *_: 0,
    )
    span = make(enabled=True, share=share).start_span("work")
    span.end()

    assert sampled is span.get_span_context().trace_flags.sampled


@pytest.mark.parametrize(
    ("environment", "name"), [({}, "nextvec"), ({"OTEL_SERVICE_NAME": "shop"}, "shop")]
)
def test_the_service_has_a_name_that_its_operator_may_change(make, monkeypatch, environment, name):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    tracer = make(enabled=True)

    assert name == tracer.resource.attributes["service.name"]


def test_without_the_extra_the_start_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(TracingError, match=r"pip install 'nextvec\[tracing\]'"):
        make_tracer(TracingSettings(enabled=True))
