"""Errors of the service, as they travel from the engine process to a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from service import errors
from service.errors import NextvecError
from service.prediction.deadline import CallerDeadlineExceeded
from service.workers.frames import Frame, FrameKind, encode
from service.workers.messages import load_json

MAX_MESSAGE = 8192
"""Characters of a message that travel: more than a response shows."""

_TEXTS = ("code", "variant", "version")


def _kinds(base: type[NextvecError]) -> dict[str, type[NextvecError]]:
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__ or kind is CallerDeadlineExceeded:
            found |= _kinds(kind)
    return found


_KINDS = _kinds(NextvecError)


class EngineBugError(Exception):
    """The engine process met an exception that it did not expect; its log has the details."""


def encode_failure(number: int, error: BaseException) -> bytes:
    """Return the frame of a call that failed with `error`."""
    return encode(FrameKind.FAILURE, number, 0, orjson.dumps(failure_values(error)))


def decode_failure(frame: Frame) -> Exception:
    """Return the error of a call that failed. Raises `FrameError`."""
    return failure_of(load_json(frame))


def failure_values(error: BaseException) -> dict[str, Any]:
    """Return what travels of an error, as it is in JSON.

    An error that is none of the service's own becomes `EngineBugError`, without its message.
    """
    values: dict[str, Any] = {"kind": "", "message": ""}
    if isinstance(error, NextvecError):
        kind = next(kind for kind in type(error).__mro__ if kind.__name__ in _KINDS)
        values = {"kind": kind.__name__, "message": str(error)[:MAX_MESSAGE]}
        values |= {name: getattr(error, name) for name in _TEXTS}
        if isinstance(error, errors.QueueFull):
            values["retry_after"] = error.retry_after
        if isinstance(error, errors.Conflict):
            values["details"] = error.details
    plain: dict[str, Any] = _plain(values)
    return plain


def failure_of(values: Mapping[str, Any]) -> Exception:
    """Return the error of `failure_values`."""
    kind = _KINDS.get(str(values.get("kind")))
    if kind is None:
        return EngineBugError("the engine process failed; its log has the details")
    message = str(values.get("message"))
    error: NextvecError
    if issubclass(kind, errors.QueueFull):
        error = kind(message, float(values.get("retry_after", 1.0)))
    elif issubclass(kind, errors.Conflict):
        error = kind(message, details=values.get("details"))
    else:
        error = kind(message)
    for name in _TEXTS:
        setattr(error, name, values.get(name))
    return error


def _plain(value: Any) -> Any:
    """Replace lone surrogates, which JSON does not have, in all texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items()}
    return value
