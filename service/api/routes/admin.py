"""`/admin/v1/rollout`: read and change the rollout."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from service.api.access.identity import Role
from service.api.change_parameters import Change
from service.api.openapi.rollout import (
    ABORT_BODY,
    ABORT_RESPONSES,
    CHANGE_RESPONSES,
    CHANGED,
    EVENTS_ANSWER,
    HISTORY_ANSWER,
    PROMOTE_RESPONSES,
    RETRY_RESPONSES,
    START_RESPONSES,
    STARTED,
    STATUS_ANSWER,
    VIEW_RESPONSES,
    StartRequest,
    VerbRequest,
)
from service.api.security import Approver, AuthorizedRoute, Operator, Viewer
from service.api.server_sent_events import server_sent_events
from service.api.services import LiveServices, ReadyServices
from service.errors import Forbidden, Invalid, NextvecError
from service.rollout.state.change_request import ChangeOptions

router = APIRouter(prefix="/admin/v1/rollout", tags=["admin"], route_class=AuthorizedRoute)

ABORT_BODY_SECONDS = 1.0
"""Seconds that an abort waits for its body, which it does not need."""


@router.get(
    "",
    summary="Read the status",
    responses={**STATUS_ANSWER, **VIEW_RESPONSES},
)
async def status(services: LiveServices, caller: Viewer) -> Response:
    """Return phase, weight and the evidence of each guardrail. Role: viewer.

    The header `ETag` has the generation for `If-Match`, and `X-Role` the caller's role.
    """
    answer = _status(services.controller.status())
    answer.headers["X-Role"] = caller.role.label
    return answer


@router.post(
    "",
    status_code=202,
    summary="Start a rollout",
    responses={**STARTED, **START_RESPONSES},
)
async def start(
    change: Change, services: ReadyServices, caller: Operator, wanted: StartRequest
) -> Response:
    """Start a rollout. The response comes at once; the canary loads and warms up after it.

    A canary that fails the plan's gate is refused, with every check that it failed.
    Role: operator; approver for `override_gate`, and for a plan whose last step has no
    approval.
    """
    if wanted.override_gate:
        _may_override(caller.role, wanted.reason)
    options = await change.options(caller)
    answer = await services.controller.changes.start(
        wanted.canary,
        wanted.plan,
        actor=caller.name,
        reason=wanted.reason,
        expected_generation=change.generation,
        options=options,
        override_gate=wanted.override_gate,
        may_approve=caller.may_approve,
    )
    return _status(answer, 200 if options.dry_run else 202)


@router.post(
    "/retry",
    status_code=202,
    summary="Start the rolled-back canary again",
    responses={**STARTED, **RETRY_RESPONSES},
)
async def retry(
    change: Change, services: ReadyServices, caller: Operator, body: VerbRequest | None = None
) -> Response:
    """Start the rolled-back canary again with its plan, as its next attempt. Role: operator."""
    options = await change.options(caller)
    answer = await services.controller.changes.retry(
        change.generation, caller.name, _reason(body), options, may_approve=caller.may_approve
    )
    return _status(answer, 200 if options.dry_run else 202)


@router.post(
    "/promote",
    summary="Approve the step, or make the canary stable",
    responses={**CHANGED, **PROMOTE_RESPONSES},
)
async def promote(
    change: Change,
    services: ReadyServices,
    caller: Approver,
    body: VerbRequest | None = None,
    *,
    force: Annotated[bool, Query()] = False,
) -> Response:
    """Approve the present step; on the last step, make the canary stable.

    With `force`, guardrails need not have passed; the audit log records it. Role: approver.
    """
    answer = await services.controller.changes.promote(
        change.generation, caller.name, _reason(body), await change.options(caller), force=force
    )
    return _status(answer)


@router.post(
    "/abort",
    openapi_extra=ABORT_BODY,
    summary="Send all traffic to stable",
    responses={**CHANGED, **ABORT_RESPONSES},
)
async def abort(change: Change, services: LiveServices, caller: Operator) -> Response:
    """Send all traffic to stable now.

    `If-Match` and the body are optional, and an invalid one does not prevent the abort.
    Only a dry run does. Role: operator.
    """
    # A body that is invalid, too large, slow or cut off must not prevent the abort.
    reason, options = "", ChangeOptions(change.dry_run)
    with suppress(ValidationError, NextvecError, ClientDisconnect, TimeoutError):
        async with asyncio.timeout(ABORT_BODY_SECONDS):
            content = await change.request.body()
        with suppress(NextvecError):
            options = await change.options(caller)
        reason = VerbRequest.model_validate_json(content).reason
    return _status(await services.controller.changes.abort(None, caller.name, reason, options))


@router.post(
    "/pause",
    summary="Hold the weight",
    responses={**CHANGED, **CHANGE_RESPONSES},
)
async def pause(
    change: Change, services: ReadyServices, caller: Operator, body: VerbRequest | None = None
) -> Response:
    """Hold the weight; guardrails keep running, and may roll back. Role: operator."""
    options = await change.options(caller)
    answer = await services.controller.changes.pause(
        change.generation, caller.name, _reason(body), options
    )
    return _status(answer)


@router.post(
    "/resume",
    summary="Continue after a pause",
    responses={**CHANGED, **CHANGE_RESPONSES},
)
async def resume(
    change: Change, services: ReadyServices, caller: Approver, body: VerbRequest | None = None
) -> Response:
    """Continue after a pause, at the same weight. Role: approver."""
    options = await change.options(caller)
    answer = await services.controller.changes.resume(
        change.generation, caller.name, _reason(body), options
    )
    return _status(answer)


@router.post(
    "/undo",
    summary="Bring back the previous stable version",
    responses={**CHANGED, **CHANGE_RESPONSES},
)
async def undo(
    change: Change, services: ReadyServices, caller: Approver, body: VerbRequest | None = None
) -> Response:
    """Restore the stable version from before the last promotion. Role: approver."""
    options = await change.options(caller)
    answer = await services.controller.changes.undo(
        change.generation, caller.name, _reason(body), options
    )
    return _status(answer)


@router.get(
    "/history",
    summary="Read the audit log",
    responses={**HISTORY_ANSWER, **VIEW_RESPONSES},
)
async def history(
    services: LiveServices, _caller: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """Return the audit log, newest entry first. Role: viewer."""
    return await services.controller.history(limit)


@router.get(
    "/events",
    summary="Follow the rollout",
    responses={**EVENTS_ANSWER, **VIEW_RESPONSES},
)
async def events(
    services: LiveServices, _caller: Viewer, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Stream server-sent events: the status now, at every evaluation and at every change.

    After a lost connection, `Last-Event-ID` brings the events that were missed first. A
    comment keeps an idle stream open. Role: viewer.
    """
    stream = server_sent_events(services.controller.subscribe(last_event_id))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def _may_override(role: Role, reason: str) -> None:
    if role < Role.APPROVER:
        raise Forbidden(f"override_gate requires the role approver, not {role.label}")
    if not reason.strip():
        raise Invalid("override_gate requires a reason for the audit log")


def _status(content: dict[str, Any], code: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    # A preview has no ETag: no change may be based on it.
    if "dry_run" not in content:
        headers["ETag"] = f'"{content["generation"]}"'
    return Response(orjson.dumps(content), code, headers, media_type="application/json")


def _reason(body: VerbRequest | None) -> str:
    return "" if body is None else body.reason
