"""Settings of logs and traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.settings.urls import HttpUrl
from service.settings.values import FrozenModel

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A share from 0 to 1."""


class LogSettings(FrozenModel):
    """What the service writes to standard error."""

    format: Literal["text", "json"] = Field(
        "text",
        description="`text` is for people; `json` writes one object a line.",
        examples=["json"],
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe level that is written.", examples=["warning"]
    )
    access_share: Share = Field(
        0.0,
        description="Share of the requests that get a line in the access log, from 0 to 1. Above "
        "0, every error response gets one, at most 100 a second. 0 disables the access log.",
        examples=[0.01],
    )


class TracingSettings(FrozenModel):
    """Traces over OTLP, which need `pip install 'nextvec[tracing]'`."""

    enabled: bool = Field(
        default=False,
        description="Record spans and export them over OTLP (HTTP with protobuf).",
        examples=[True],
    )
    endpoint: HttpUrl | None = Field(
        None,
        description="Where spans are sent. The default is OpenTelemetry's own: its variables "
        "`OTEL_EXPORTER_OTLP_…`, then `http://localhost:4318/v1/traces`.",
        examples=["http://collector:4318/v1/traces"],
    )
    share: Share = Field(
        1.0,
        description="Share of the traces that are recorded, from 0 to 1. A request with a valid "
        "`traceparent` is recorded if its caller records it.",
        examples=[0.05],
    )
