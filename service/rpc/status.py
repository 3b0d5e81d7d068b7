"""gRPC's status for each error, and the trailing metadata that carries the rest of it."""

from __future__ import annotations

import math

import grpc

from service.api.errors import MAX_MESSAGE, status_of
from service.errors import NextvecError, QueueFull, StoreUnavailable

_STATUS = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the HTTP status of the same error. Others are INVALID_ARGUMENT below 500, else INTERNAL."""


def grpc_status(error: NextvecError) -> grpc.StatusCode:
    """Return the status of a call that failed with `error`."""
    status = status_of(error)
    other = grpc.StatusCode.INVALID_ARGUMENT if status < 500 else grpc.StatusCode.INTERNAL
    return _STATUS.get(status, other)


def details(error: NextvecError) -> str:
    """Return the message of the status."""
    text = str(error)
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def error_metadata(error: NextvecError) -> list[tuple[str, str]]:
    """Return `nextvec-code`, and `retry-after` in seconds where waiting helps."""
    found = [("nextvec-code", error.code)]
    if isinstance(error, QueueFull | StoreUnavailable):
        found.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    return found
