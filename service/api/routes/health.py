"""Health checks and the metrics page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service.api.openapi.errors import error_responses
from service.api.openapi.inference_protocol import (
    LIVE_ANSWER,
    METRICS_ANSWER,
    SERVICE_READY_ANSWER,
)
from service.api.services import LiveServices
from service.metrics_page import choose_format

router = APIRouter(tags=["health"])


@router.get(
    "/v2/health/live",
    summary="Whether the process runs",
    responses={**LIVE_ANSWER, **error_responses()},
)
async def live(services: LiveServices) -> dict[str, bool]:
    """Report that the process is running."""
    return {"live": True, "ready": services.ready}


@router.get(
    "/v2/health/ready",
    summary="Whether requests are served",
    responses={**error_responses(), **SERVICE_READY_ANSWER},
)
async def ready(services: LiveServices) -> JSONResponse:
    """Report whether versions are loaded and warm: 503 before that and while draining."""
    content = {"live": True, "ready": services.ready}
    return JSONResponse(content, 200 if services.ready else 503)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses={**METRICS_ANSWER, **error_responses()},
)
async def metrics(request: Request, services: LiveServices) -> Response:
    """Return the metrics, as OpenMetrics or in Prometheus' text format, by `Accept`."""
    for loaded in services.registry.loaded:
        services.metrics.queue_length.labels(loaded.manifest.version).set(loaded.scheduler.waiting)
    form = choose_format(
        ",".join(request.headers.getlist("accept")),
        ",".join(request.headers.getlist("accept-encoding")),
    )
    headers = {"Content-Type": form.media_type, "Vary": "Accept, Accept-Encoding"}
    if form.gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(services.metrics.page.read(form), headers=headers)
