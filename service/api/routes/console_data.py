"""What the console shows besides the rollout's status: links, plans, versions, past minutes."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from service.api.console.presets import presets
from service.api.console.versions import version_rows
from service.api.openapi.rollout import (
    CONSOLE_ANSWER,
    TIMELINE_ANSWER,
    VERSIONS_ANSWER,
    VIEW_RESPONSES,
)
from service.api.security import AuthorizedRoute, Viewer
from service.api.services import LiveServices, ReadyServices

router = APIRouter(prefix="/admin/v1", tags=["admin"], route_class=AuthorizedRoute)


@router.get(
    "/console",
    summary="What the console shows of its installation",
    responses={**CONSOLE_ANSWER, **VIEW_RESPONSES},
)
async def console_data(services: LiveServices, _caller: Viewer) -> dict[str, Any]:
    """Return the installation's name, the console's links and the plans of its start form.

    Role: viewer.
    """
    settings = services.settings.console
    return {
        "name": settings.name,
        "links": {"grafana": settings.grafana_url, "runbook": settings.runbook_url},
        "presets": presets(services.controller.default_plan),
    }


@router.get(
    "/versions",
    summary="Versions in the repository, with their figures",
    responses={**VERSIONS_ANSWER, **VIEW_RESPONSES},
)
async def versions(services: ReadyServices, _caller: Viewer) -> list[dict[str, Any]]:
    """List the versions in the repository: size in bytes, Hit@5, and the P95 of a step in ms.

    Role: viewer.
    """
    folder = services.settings.models / services.settings.model
    return await version_rows(services.registry, folder)


@router.get(
    "/rollout/timeline",
    summary="The past minutes of the rollout",
    responses={**TIMELINE_ANSWER, **VIEW_RESPONSES},
)
async def timeline(
    services: LiveServices,
    _caller: Viewer,
    since: Annotated[float, Query(ge=0, le=1e12, allow_inf_nan=False)] = 0.0,
) -> Response:
    """Return the past minutes: weight, and each variant's P50, P95, P99 and requests per second.

    Points after `since`, in epoch seconds. They are of this process, and gone after a restart.
    Role: viewer.
    """
    content = orjson.dumps(services.timeline.to_json(since))
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})
