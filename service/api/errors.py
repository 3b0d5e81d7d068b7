"""The table from errors to statuses, and the body of every error response."""

from __future__ import annotations

import logging
import math
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service import errors
from service.rollout.storage.errors import StoreError
from service.suggestions import validation_message

logger = logging.getLogger(__name__)

STATUS: dict[type[errors.NextvecError], int] = {
    errors.Malformed: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.VersionError: 422,
    errors.PreconditionRequired: 428,
    errors.QueueFull: 429,
    errors.Cancelled: 499,
    errors.EngineFault: 500,
    errors.NotReady: 503,
    errors.StoreUnavailable: 503,
    errors.StoreUnusable: 503,
    errors.AbortNotStored: 503,
    StoreError: 503,
    errors.DeadlineExceeded: 504,
}
"""A caller's mistake is 4xx and a fault of the service 5xx: alerts rely on it."""

_CODES = {
    400: "malformed",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
}

MAX_MESSAGE = 2000
"""Characters of an error message."""


def status_of(error: errors.NextvecError) -> int:
    """Return the status of the error's nearest class in `STATUS`."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def add_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with the body of the contract."""
    app.add_exception_handler(errors.NextvecError, _nextvec_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def error_body(message: str, code: str, request_id: str, **details: object) -> bytes:
    """Return the error body of the contract.

    Lone surrogates from the caller's text are replaced, so that this cannot fail. A long
    message is cut: it may repeat what the caller sent.
    """
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}…"
    message = message.encode("utf-8", "replace").decode()
    return orjson.dumps({"error": message, "code": code, "request_id": request_id, **details})


async def _nextvec_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NextvecError)
    return error_response(request, error)


def error_response(request: Request, error: errors.NextvecError) -> Response:
    """Return the response to a request that failed with `error`."""
    state = request.scope["state"]
    status, content, headers = render_error(error, state)
    return Response(content, status, headers, media_type="application/json")


def render_error(
    error: errors.NextvecError, state: dict[str, object]
) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of the response; `state` is that of `request_context`."""
    status, request_id = status_of(error), str(state["request_id"])
    if error.version is not None:
        state.update(variant=error.variant, version=error.version)
    headers = {}
    details: dict[str, object] = {}
    if isinstance(error, errors.QueueFull | errors.StoreUnavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Conflict):
        details = error.details
    if status >= 500:
        logger.warning("request %s: %s: %s", request_id, error.code, error)
    # The reserved keys come last, so that a detail cannot overwrite them.
    return status, error_body(str(error), error.code, request_id, **details), headers


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part)[: errors.QUOTED_CHARACTERS] for part in first["loc"])
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        return _response(request, 400, f"{place}: not JSON: {reason}", "malformed")
    return _response(request, 422, f"{place}: {_message(request, first)}", "invalid")


def _message(request: Request, error: dict[str, Any]) -> str:
    """The message of a validation error, with the nearest name for an unknown field."""
    field = getattr(request.scope["route"], "body_field", None)
    if field is None or error["loc"][0] != "body":
        return str(error["msg"])
    return validation_message({**error, "loc": error["loc"][1:]}, field.field_info.annotation)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # The framework wraps errors that end its reading of a body.
    if isinstance(error.__cause__, errors.NextvecError):
        return await _nextvec_error(request, error.__cause__)
    code = _CODES.get(error.status_code, "http_error")
    headers = dict(error.headers or {})
    message = str(error.detail)
    if isinstance(error.__cause__, ValueError | RecursionError):
        message = f"the body is not JSON that can be read: {error.__cause__}"
    return _response(request, error.status_code, message, code, headers)


def internal_error_body(request_id: str) -> bytes:
    """Return the body for an unexpected exception; only the log has the details."""
    return error_body(
        "internal error; the log has the details under this request id", "internal", request_id
    )


def _response(
    request: Request,
    status: int,
    message: str,
    code: str,
    headers: dict[str, str] | None = None,
) -> Response:
    content = error_body(message, code, _request_id(request))
    return Response(content, status, headers, media_type="application/json")


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
