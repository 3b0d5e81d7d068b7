"""What the frames of `/v1/steps` say: many appends, and the outcome of each.

A body is a head in JSON, one packed row for each append, and the vectors as raw float32
`[n, dim]`; a large request has its vectors in shared memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

import numpy as np
import orjson

from service.errors import NextvecError
from service.prediction.request import Prediction, SessionAppend
from service.rollout.routing.traffic_split import Route
from service.types import Variant, Vectors
from service.workers.failures import failure_of, failure_values
from service.workers.frames import Frame, FrameError, FrameKind, encode

_HEAD = Struct("<II")
_APPEND = np.dtype([("session", "S128"), ("position", "<i8")])
_OUTCOME = np.dtype([("route", "<i8"), ("queue", "<f8"), ("inference", "<f8"), ("length", "<i8")])
_NONE = -1


class GroupHead(NamedTuple):
    """What is common to all appends of a group; see `EngineCall`.

    `place` is where the vectors lie in shared memory, or None.
    """

    arrived: float
    override: Variant | None
    timeout_seconds: float | None
    request_id: str | None
    owner: str | None
    traceparent: str | None
    place: int | None = None


def encode_group(
    number: int, head: GroupHead, appends: Sequence[SessionAppend], vectors: Vectors | None
) -> bytes:
    """Return the frame of a group of single vectors: `vectors` `[n, dim]` unless they have a place.

    Session ids are ASCII, and fit into a row. Raises `FrameError` if the frame is too large.
    """
    rows = np.array(
        [
            (session.encode("ascii"), _NONE if position is None else position)
            for session, _, position in appends
        ],
        _APPEND,
    )
    payload = b"" if vectors is None else vectors.astype("<f4", copy=False).tobytes()
    return _encode(FrameKind.STEPS, number, tuple(head), rows, payload)


def decode_group(frame: Frame, dim: int) -> tuple[GroupHead, list[SessionAppend]]:
    """Return the head and the appends; those whose vectors have a place lack them.

    Raises `FrameError`.
    """
    values, rows, at = _decode(frame, _APPEND)
    try:
        arrived, override, *rest = values
        head = GroupHead(float(arrived), None if override is None else Variant(override), *rest)
        if head.place is None:
            vectors = np.frombuffer(frame.body, "<f4", len(rows) * dim, at).reshape(-1, 1, dim)
        else:
            vectors = np.empty((len(rows), 1, 0), np.float32)
    except (TypeError, ValueError) as error:
        raise FrameError(f"a group is cut short: {error}") from error
    return head, [
        SessionAppend(session.decode("latin-1"), row, None if position == _NONE else position)
        for row, (session, position) in zip(vectors, rows.tolist(), strict=True)
    ]


def encode_outcomes(number: int, outcomes: Sequence[Prediction | NextvecError], dim: int) -> bytes:
    """Return the frame of a group's outcomes, in order."""
    routes: dict[Route, int] = {}
    failures: list[object] = []
    rows: list[tuple[int, float, float, int]] = []
    vectors = np.zeros((len(outcomes), dim), "<f4")
    for at, outcome in enumerate(outcomes):
        if isinstance(outcome, NextvecError):
            failures.append([at, failure_values(outcome)])
            rows.append((_NONE, 0.0, 0.0, _NONE))
        else:
            vector, route, queue, inference, length = outcome
            vectors[at] = vector
            rows.append(
                (
                    routes.setdefault(route, len(routes)),
                    queue,
                    inference,
                    _NONE if length is None else length,
                )
            )
    head = [[(route.variant, route.version) for route in routes], failures]
    return _encode(FrameKind.OUTCOMES, number, head, np.array(rows, _OUTCOME), vectors.tobytes())


def decode_outcomes(frame: Frame, dim: int) -> list[Prediction | NextvecError]:
    """Return the outcomes in order. Raises `FrameError`, and an error that is none of the
    service's own.
    """
    values, rows, at = _decode(frame, _OUTCOME)
    try:
        routes, failures = values
        named = [
            Route(None if variant is None else Variant(variant), version, assigned=True)
            for variant, version in routes
        ]
        errors = {int(number): failure_of(failure) for number, failure in failures}
        # A copy: a view would keep all that arrived in the same read.
        vectors = np.frombuffer(frame.body, "<f4", len(rows) * dim, at).reshape(-1, dim).copy()
        return [
            _error(errors[number])
            if route == _NONE
            else Prediction(vector, named[route], queue, inference, length)
            for number, (vector, (route, queue, inference, length)) in enumerate(
                zip(vectors, rows.tolist(), strict=True)
            )
        ]
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise FrameError(f"the outcomes of a group are cut short: {error}") from error


def _error(error: Exception) -> NextvecError:
    if not isinstance(error, NextvecError):
        raise error
    return error


def _encode(
    kind: FrameKind, number: int, head: object, rows: np.ndarray[Any, Any], payload: bytes
) -> bytes:
    shown = orjson.dumps(head)
    start = _HEAD.pack(len(rows), len(shown)) + shown
    return encode(kind, number, 0, start, bytes(-len(start) % 8), rows.tobytes(), payload)


def _decode(frame: Frame, row: np.dtype[Any]) -> tuple[Any, np.ndarray[Any, Any], int]:
    """Return the head, the rows, and where the vectors begin."""
    body = frame.body
    try:
        count, size = _HEAD.unpack_from(body)
        at = _HEAD.size + size
        head = orjson.loads(body[_HEAD.size : at])
        at += -at % 8
        rows = np.frombuffer(body, row, count, at)
    except (StructError, ValueError) as error:
        raise FrameError(f"a group is cut short: {error}") from error
    if not count or not isinstance(head, list):
        raise FrameError("a group is empty")
    return head, rows, at + count * row.itemsize
