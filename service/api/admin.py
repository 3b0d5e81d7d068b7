"""`/admin/v1/rollout`: see it, start it, and say go on or stop."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import StreamingResponse

from service.api.schemas import ERRORS, StartRequest, VerbRequest
from service.api.security import Approver, Operator, Role, Viewer
from service.api.services import Live, Ready
from service.errors import Forbidden, Invalid

router = APIRouter(prefix="/admin/v1/rollout", tags=["admin"], responses=ERRORS)

_ETAG = re.compile(r'\s*(?:W/)?"?(\d{1,18})"?\s*\Z')


@router.get("")
async def status(services: Live, _role: Viewer) -> Response:
    """Phase, weight, and per guardrail the figures that say why."""
    return _status(services.controller.status())


@router.post("", status_code=202)
async def start(
    request: Request, services: Ready, role: Operator, wanted: StartRequest
) -> Response:
    """Begin a rollout; it answers at once, and loads and warms up meanwhile.

    A canary that misses the plan's gate is refused with every figure it misses.
    """
    if wanted.override_gate:
        _may_override(role, wanted.reason)
    answer = await services.controller.start_rollout(
        wanted.canary,
        wanted.plan,
        actor=_actor(role),
        reason=wanted.reason,
        expected_generation=_if_match(request),
        override_gate=wanted.override_gate,
    )
    return _status(answer, 202)


@router.post("/promote")
async def promote(
    request: Request,
    services: Ready,
    role: Approver,
    body: VerbRequest | None = None,
    *,
    force: Annotated[bool, Query()] = False,
) -> Response:
    """Approve the present step; on the last one, make the canary stable.

    `force` does so before the guardrails have passed, which is recorded.
    """
    answer = await services.controller.promote(
        _if_match(request), _actor(role), _reason(body), force=force
    )
    return _status(answer)


@router.post(
    "/abort",
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"schema": VerbRequest.model_json_schema()}}
        }
    },
)
async def abort(request: Request, services: Live, role: Operator) -> Response:
    """Take the canary's share back now, whatever else the request says.

    Neither `If-Match` nor a body is needed, and neither can be wrong.
    """
    try:
        reason = VerbRequest.model_validate_json(await request.body()).reason
    except ValidationError:
        reason = ""
    return _status(await services.controller.abort(None, _actor(role), reason))


@router.post("/pause")
async def pause(
    request: Request, services: Ready, role: Operator, body: VerbRequest | None = None
) -> Response:
    """Hold the weight; the guardrails go on."""
    answer = await services.controller.pause(_if_match(request), _actor(role), _reason(body))
    return _status(answer)


@router.post("/resume")
async def resume(
    request: Request, services: Ready, role: Approver, body: VerbRequest | None = None
) -> Response:
    """Go on after a pause."""
    answer = await services.controller.resume(_if_match(request), _actor(role), _reason(body))
    return _status(answer)


@router.post("/undo")
async def undo(
    request: Request, services: Ready, role: Approver, body: VerbRequest | None = None
) -> Response:
    """Go back to the stable version from before the last promotion."""
    answer = await services.controller.undo(_if_match(request), _actor(role), _reason(body))
    return _status(answer)


@router.get("/history")
async def history(
    services: Live, _role: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """The audit log, newest first."""
    return await services.controller.history(limit)


@router.get("/events")
async def events(services: Live, _role: Viewer) -> StreamingResponse:
    """Server-sent events: the present status, then every look and every change."""

    async def stream() -> AsyncIterator[bytes]:
        async for event in services.controller.subscribe():
            yield b"event: %b\ndata: %b\n\n" % (
                str(event["event"]).encode(),
                orjson.dumps(event["data"]),
            )

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _may_override(role: Role, reason: str) -> None:
    if role < Role.APPROVER:
        raise Forbidden(f"override_gate needs the role approver, not {role.name.lower()}")
    if not reason.strip():
        raise Invalid("override_gate needs a reason, which the audit log keeps")


def _status(content: dict[str, Any], code: int = 200) -> Response:
    return Response(
        orjson.dumps(content),
        code,
        {"ETag": f'"{content["generation"]}"', "Cache-Control": "no-store"},
        media_type="application/json",
    )


def _if_match(request: Request) -> int | None:
    """The generation the caller has seen, None where it does not say."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    match = _ETAG.match(given)
    if match is None:
        raise Invalid(f'If-Match is {given!r}: send the ETag of the status, e.g. "7"')
    return int(match[1])


def _actor(role: Role) -> str:
    return role.name.lower()


def _reason(body: VerbRequest | None) -> str:
    return "" if body is None else body.reason
