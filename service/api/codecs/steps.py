"""Bodies of `/v1/steps`: one vector for each of many sessions, as JSON or as one binary frame.

A binary frame is little-endian and has no padding. Request: `NVS1`, the number of rows as
uint32, the rows as `REQUEST_ROW`, then the vectors as float32 `[rows, dim]`. Response: `NVR1`,
the number of rows, the rows as `RESPONSE_ROW`, then the predicted vectors, zeros in rows that
failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import orjson

from service.api import errors
from service.api.codecs import json_numbers, session_ids
from service.api.codecs.vectors import BINARY_TYPE, JSON_TYPE
from service.api.parameters import check_fields
from service.api.parsing import ParsingThread
from service.errors import Conflict, Invalid, Malformed, NextvecError, UnsupportedMediaType, quoted
from service.prediction.request import Prediction, SessionAppend
from service.suggestions import describe_unknown
from service.types import Vectors

REQUEST_ROW = np.dtype([("session", "S128"), ("position", "<i8")])
"""A session's id in ASCII, filled up with zero bytes, and its length before the step; -1 if the
caller does not say."""

RESPONSE_ROW = np.dtype([("status", "<u4"), ("reserved", "<u4"), ("length", "<i8")])
"""The row's HTTP status, and the session's length after the step. After 409 that is its true
position, after any other error -1."""

_FIELDS = {"session", "vector", "position"}
_HEAD = 8


async def parse(
    parsing: ParsingThread, headers: Mapping[str, str], content: bytes, dim: int, max_rows: int
) -> list[SessionAppend | Invalid]:
    """Return the rows of a body, each with one vector; an `Invalid` for one that makes no sense.

    Raises `UnsupportedMediaType`, `Malformed`, or `Invalid` for the body as a whole.
    """
    kind = headers.get("content-type", JSON_TYPE).partition(";")[0].strip().lower()
    if kind not in {JSON_TYPE, BINARY_TYPE}:
        raise UnsupportedMediaType(
            f"content type {quoted(kind)}: send {JSON_TYPE} or {BINARY_TYPE}"
        )
    read = parse_json if kind == JSON_TYPE else parse_frame
    return await parsing.run(len(content), partial(read, content, dim, max_rows))


def parse_frame(content: bytes, dim: int, max_rows: int) -> list[SessionAppend | Invalid]:
    """Return the rows of a binary frame. Raises `Malformed` or `Invalid`."""
    if content[:4] != b"NVS1" or len(content) < _HEAD:
        raise Malformed("the frame does not begin with NVS1 and its number of rows")
    count = int.from_bytes(content[4:_HEAD], "little")
    _check_count(count, max_rows)
    begin = _HEAD + count * REQUEST_ROW.itemsize
    if len(content) != begin + 4 * count * dim:
        raise Malformed(
            f"{len(content)} bytes are not a frame of {count} rows of {dim} float32 "
            f"({begin + 4 * count * dim} bytes)"
        )
    rows = np.frombuffer(content, REQUEST_ROW, count, _HEAD)
    vectors = np.frombuffer(content, "<f4", count * dim, begin).reshape(count, 1, dim)
    steps: list[SessionAppend | Invalid] = []
    for number, (session, position) in enumerate(rows.tolist()):
        if position < -1:
            steps.append(Invalid(f"steps[{number}].position is {position}, not a length"))
        else:
            name = session.decode("latin-1")
            steps.append(_step(number, name, vectors[number], None if position < 0 else position))
    return steps


def parse_json(content: bytes, dim: int, max_rows: int) -> list[SessionAppend | Invalid]:
    """Return the rows of `{"steps": [{"session", "vector", "position"}]}`.

    Raises `Malformed` or `Invalid`.
    """
    parsed = json_numbers.loads(content, dim, max_rows)
    if not isinstance(parsed, dict) or "steps" not in parsed:
        raise Invalid("the body is not an object with 'steps'")
    check_fields(parsed, ("steps",))
    rows = parsed["steps"]
    if not isinstance(rows, list):
        raise Invalid("steps is not a list")
    _check_count(len(rows), max_rows)
    return [_json_row(number, row, dim) for number, row in enumerate(rows)]


def render(
    steps: Sequence[SessionAppend | Invalid],
    results: Sequence[Prediction | NextvecError],
    dim: int,
    *,
    binary: bool,
) -> tuple[bytes, str]:
    """Return the response body and its media type: one result a row, in the request's order."""
    if binary:
        return _frame(results, dim), BINARY_TYPE
    rows = [_json_result(step, result) for step, result in zip(steps, results, strict=True)]
    return orjson.dumps({"results": rows}, option=orjson.OPT_SERIALIZE_NUMPY), JSON_TYPE


def _check_count(count: int, max_rows: int) -> None:
    if not 0 < count <= max_rows:
        raise Invalid(f"{count} rows; send 1 to {max_rows}")


def _json_row(number: int, row: object, dim: int) -> SessionAppend | Invalid:
    name = f"steps[{number}]"
    if not isinstance(row, dict):
        return Invalid(f"{name} is not an object")
    if unknown := sorted(set(row) - _FIELDS):
        return Invalid(f"{name}: {describe_unknown('field', unknown[0], _FIELDS)}")
    session, vector, position = row.get("session"), row.get("vector"), row.get("position")
    if not isinstance(vector, list) or len(vector) != dim:
        return Invalid(f"{name}.vector is not a list of {dim} numbers")
    if position is not None and (type(position) is not int or not 0 <= position < 2**63):
        return Invalid(f"{name}.position is not a number of vectors")
    try:
        values = json_numbers.float32([vector])
    except ValueError as error:
        return Invalid(f"{name}.vector has {error}")
    return _step(number, session, values.reshape(1, dim), position)


def _step(
    number: int, session: object, vector: Vectors, position: int | None
) -> SessionAppend | Invalid:
    if not isinstance(session, str) or not session_ids.is_usable(session):
        return Invalid(f"steps[{number}].session is not {session_ids.RULE}")
    return SessionAppend(session, vector, position)


def _json_result(step: SessionAppend | Invalid, result: Prediction | NextvecError) -> object:
    session = step.session if isinstance(step, SessionAppend) else None
    if isinstance(result, NextvecError):
        details = result.details if isinstance(result, Conflict) else {}
        return {
            **details,
            "session": session,
            "status": errors.status_of(result),
            "error": str(result),
            "code": result.code,
        }
    return {
        "session": session,
        "status": 200,
        "next_vector": result.vector,
        "length": result.length,
        "variant": result.route.variant,
        "version": result.route.version,
    }


def _frame(results: Sequence[Prediction | NextvecError], dim: int) -> bytes:
    rows = np.zeros(len(results), RESPONSE_ROW)
    vectors = np.zeros((len(results), dim), "<f4")
    for number, result in enumerate(results):
        if isinstance(result, NextvecError):
            position = result.details.get("position", -1) if isinstance(result, Conflict) else -1
            rows[number] = (errors.status_of(result), 0, position)
        else:
            rows[number] = (200, 0, result.length)
            vectors[number] = result.vector
    return b"NVR1" + len(results).to_bytes(4, "little") + rows.tobytes() + vectors.tobytes()
