"""The tracer that exports spans over OTLP. Needs the extra `tracing`."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version as installed_version

from opentelemetry.trace import Tracer

from service.errors import NextvecError
from service.settings.telemetry import TracingSettings

SCOPE = "nextvec"

EXPORT_TIMEOUT_SECONDS = 3.0
"""For one export with its retries: the last one delays the end of the process."""

_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")


class TracingError(NextvecError):
    """Traces cannot be exported as the settings ask for."""

    code = "tracing"


def make_tracer(settings: TracingSettings) -> tuple[Tracer | None, Callable[[], None]]:
    """Return the tracer, None if tracing is off, and a function that flushes it.

    Raises `TracingError` if the SDK is not installed.
    """
    if not settings.enabled:
        return None, lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415  an extra
            ParentBased,
            TraceIdRatioBased,
        )
    except ImportError as error:
        raise TracingError(
            f"tracing.enabled needs the package {error.name}; "
            "install it with: pip install 'nextvec[tracing]'"
        ) from error
    installed = installed_version("nextvec")
    # `create` also reads OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, which win.
    resource = Resource.create({"service.version": installed})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "nextvec"}))
    provider = TracerProvider(
        resource=resource, sampler=ParentBased(TraceIdRatioBased(settings.share))
    )
    # Without an endpoint the exporter reads OTEL_EXPORTER_OTLP_ENDPOINT.
    endpoint = None if settings.endpoint is None else settings.endpoint.get_secret_value()
    configured = any(name in os.environ for name in _TIMEOUTS)
    exporter = OTLPSpanExporter(
        endpoint=endpoint, timeout=None if configured else EXPORT_TIMEOUT_SECONDS
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider.get_tracer(SCOPE, installed), provider.shutdown
