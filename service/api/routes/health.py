"""Health checks and the metrics page."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from service.api.services import LiveServices

router = APIRouter(tags=["health"])


@router.get("/v2/health/live")
async def live(services: LiveServices) -> dict[str, bool]:
    """Report that the process is running."""
    return {"live": True, "ready": services.ready}


@router.get("/v2/health/ready")
async def ready(services: LiveServices) -> JSONResponse:
    """Report whether versions are loaded and warm: 503 before that and while draining."""
    content = {"live": True, "ready": services.ready}
    return JSONResponse(content, 200 if services.ready else 503)


# Not async: the framework renders some ten thousand lines in a thread, off the event loop.
@router.get("/metrics")
def metrics(services: LiveServices) -> Response:
    """Return the metrics in Prometheus text format."""
    for loaded in services.registry.loaded:
        services.metrics.queue_length.labels(loaded.manifest.version).set(loaded.scheduler.waiting)
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)
