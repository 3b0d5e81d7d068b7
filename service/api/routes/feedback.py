"""`POST /v1/feedback`: the true next vector of an earlier prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from service.api import http_call, parameters, request_headers
from service.api.body_limits import SMALL_BODY_BYTES
from service.api.codecs import json_numbers, vectors
from service.api.openapi.errors import error_responses
from service.api.openapi.vectors import FEEDBACK_ANSWER, FEEDBACK_BODY
from service.api.request_context import MAX_REQUEST_ID
from service.api.services import accepting_services
from service.errors import Invalid, UnsupportedMediaType, quoted
from service.types import Vectors

router = APIRouter(prefix="/v1", tags=["feedback"])

_BYTES_PER_VALUE = 32
"""Bytes of a number in JSON, with its comma and white space."""


@router.post(
    "/feedback",
    status_code=202,
    summary="Send the vector that followed a prediction",
    openapi_extra=FEEDBACK_BODY,
    responses={
        **FEEDBACK_ANSWER,
        **error_responses(
            "unauthorized",
            "prediction_not_found",
            "prediction_gone",
            "body_timeout",
            "too_large",
            "unsupported_media_type",
            "invalid",
            "queue_full",
            "caller_limited",
            "too_many_failures",
            "not_ready",
            "session_store_unavailable",
        ),
    },
)
async def feedback(request: Request) -> Response:
    """Report the vector that followed a prediction of `/v1/predict`.

    `request_id` is the `X-Request-Id` of that prediction; with raw float32 it is a query
    parameter. The prediction is then scored in the same way as predictions of sessions,
    whose next vector is their label. A label counts once: a repeated one is answered with
    `counted: false` and changes nothing. 404 means that this caller has no such
    prediction, or that it overrode the split; 410 that it is no longer kept.
    """
    services = accepting_services(request)
    caller = await services.authenticator.caller(request)
    most = SMALL_BODY_BYTES + _BYTES_PER_VALUE * services.dim
    content = await http_call.read_body(request, most)
    rows, fields = _label(request, content, services.dim)
    parameters.check_fields(fields, ("request_id", "vector"))
    request_id = parameters.agreed(
        "request_id", fields.get("request_id"), request.query_params.get("request_id")
    )
    if not isinstance(request_id, str) or not request_id:
        raise Invalid("request_id is missing: send the X-Request-Id of the prediction")
    if len(request_id) > MAX_REQUEST_ID:
        raise Invalid(f"request_id has {len(request_id)} characters, not 1 to {MAX_REQUEST_ID}")
    counted = await services.dispatch.label(
        request_headers.caller_digest(caller, request.headers), request_id, rows
    )
    answer = orjson.dumps({"request_id": request_id, "counted": counted})
    return Response(answer, 202, media_type=vectors.JSON_TYPE)


def _label(request: Request, content: bytes, dim: int) -> tuple[Vectors, Mapping[str, Any]]:
    """Return the vector as `[1, dim]`, and the other fields.

    Raises `UnsupportedMediaType`, `Malformed` or `Invalid`.
    """
    kind = request.headers.get("content-type", vectors.JSON_TYPE).partition(";")[0].strip().lower()
    if kind == vectors.BINARY_TYPE:
        return vectors.parse_binary(content, dim), request.query_params
    if kind != vectors.JSON_TYPE:
        raise UnsupportedMediaType(
            f"content type {quoted(kind)}: send {vectors.JSON_TYPE} or {vectors.BINARY_TYPE}"
        )
    parsed = json_numbers.loads(content, dim, 1)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("vector"), list):
        raise Invalid("the body is not an object with 'request_id' and a list 'vector'")
    try:
        return json_numbers.float32(parsed["vector"])[None], parsed
    except ValueError as error:
        raise Invalid(f"vector has {error}") from error
