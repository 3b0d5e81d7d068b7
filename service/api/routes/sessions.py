"""`/v1/sessions/{id}`: contexts that grow on the server, one step per vector."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.api import parameters, request_headers
from service.api.codecs import session_ids, vectors
from service.api.http_call import HttpCall, HttpReply, answer_over_asgi, owner_of
from service.api.openapi.errors import error_responses
from service.api.openapi.vectors import (
    APPEND_ANSWER,
    APPEND_BODY,
    PREDICTION_ERRORS,
    SESSION_ANSWER,
    SessionView,
)
from service.api.security import ApiKey
from service.api.services import ReadyServices
from service.errors import Invalid, quoted
from service.prediction.request import RequestOptions

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

SessionId = Annotated[str, Path(pattern=session_ids.PATTERN)]

_SESSION_ERRORS = (
    "unauthorized",
    "session_not_found",
    "session_gone",
    "invalid",
    "caller_limited",
    "too_many_failures",
    "not_ready",
    "session_store_unavailable",
)


@router.post(
    "/{session_id}/vectors",  # noqa: FAST003  `handle_append` gets it from the path
    summary="Append to a session and predict",
    # `handle_append` parses these itself: the fast path calls it without the framework.
    openapi_extra=APPEND_BODY,
    responses={
        **APPEND_ANSWER,
        **error_responses(
            *PREDICTION_ERRORS,
            "session_not_found",
            "position_mismatch",
            "session_gone",
            "session_store_unavailable",
        ),
    },
)
async def append(request: Request) -> Response:
    """Append vectors and predict the next one. The first append creates the session.

    `position`, in the query or the JSON, is the session's length before the append. It
    makes a retry safe: repeating the last append returns the same response, and any
    other mismatch is 409 with the true position. 410 means that the session was
    evicted: send its context again with position 0.
    """
    return await answer_over_asgi(
        request, partial(handle_append, request.path_params["session_id"])
    )


async def handle_append(name: str, call: HttpCall) -> HttpReply:
    """Append to the session `name`. Raises what `Dispatch.append` and `codecs.vectors` raise."""
    services, headers = call.services, call.headers
    session_id = _session_id(name)
    call.check_query("position")
    position = _query_position(call.parameter("position"))
    binary = vectors.wants_binary(headers)
    override = request_headers.variant_override(headers)
    rows, fields = await vectors.parse(
        services.parsing,
        headers,
        call.content,
        "vectors",
        services.dim,
        services.settings.limits.max_rows,
    )
    parameters.check_fields(fields, ("vectors", "position", "key"))
    position = parameters.agreed("position", position, _position(fields.get("position")))
    await call.count_vectors(len(rows))
    key = vectors.routing_key(headers, fields)
    answer = await services.predictor.append(
        session_id,
        rows,
        RequestOptions(key, override, owner=call.owner, waited_seconds=call.waited_seconds),
        position=position,
    )
    identity = {"session": session_id, "length": answer.length}
    return HttpReply(*vectors.render(answer, identity, binary=binary), answer)


@router.get(
    "/{session_id}",
    summary="Read a session",
    responses={**SESSION_ANSWER, **error_responses(*_SESSION_ERRORS)},
)
async def get(services: ReadyServices, session_id: SessionId, caller: ApiKey) -> SessionView:
    """Return the session's length and the version that holds its state.

    A session of another API key is 404.
    """
    session = await services.dispatch.session(session_id, owner_of(caller))
    return SessionView(
        id=session.id,
        length=session.length,
        variant=session.variant,
        version=session.version,
        bytes=session.nbytes,
    )


@router.delete(
    "/{session_id}",
    status_code=204,
    summary="Forget a session",
    responses={
        204: {"description": "The session is forgotten."},
        **error_responses(*_SESSION_ERRORS),
    },
)
async def delete(services: ReadyServices, session_id: SessionId, caller: ApiKey) -> None:
    """Delete the session and free its memory. Its id may be used again at once."""
    await services.dispatch.delete_session(session_id, owner_of(caller))


def _session_id(text: str) -> str:
    if not session_ids.is_usable(text):
        raise Invalid(f"session {quoted(text)} is not {session_ids.RULE}")
    return text


def _query_position(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(f"position is {quoted(text)}, not a number of vectors")
    return int(text)


def _position(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Invalid(f"position is {quoted(value)}, not a number of vectors")
    return value
