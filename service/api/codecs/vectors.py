"""Bodies of `/v1`: vectors as JSON or raw little-endian float32, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import orjson

from service.api import accept, parameters
from service.api.codecs import json_numbers
from service.api.parsing import ParsingThread
from service.errors import Invalid, Malformed, UnsupportedMediaType, quoted
from service.prediction.request import Prediction
from service.types import Vectors

BINARY_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
MAX_ACCEPT = 1000
"""Characters of `Accept` that are read."""


async def parse(
    parsing: ParsingThread,
    headers: Mapping[str, str],
    content: bytes,
    field: str,
    dim: int,
    max_rows: int,
) -> tuple[Vectors, Mapping[str, Any]]:
    """Return the vectors `[n, dim]` of a JSON or binary body, and the other JSON fields.

    Raises `UnsupportedMediaType`, `Malformed` or `Invalid`.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"content encoding {quoted(encoding)}: send the body uncompressed"
        )
    kind = headers.get("content-type", JSON_TYPE).partition(";")[0].strip().lower()
    if kind == BINARY_TYPE:
        return parse_binary(content, dim), {}
    if kind != JSON_TYPE:
        raise UnsupportedMediaType(
            f"content type {quoted(kind)}: send {JSON_TYPE} or {BINARY_TYPE}"
        )
    return await parsing.run(len(content), partial(parse_json, content, field, dim, max_rows))


def parse_binary(content: bytes, dim: int) -> Vectors:
    """Return raw little-endian float32 as `[n, dim]`. Raises `Malformed`."""
    if len(content) % (4 * dim):
        raise Malformed(f"{len(content)} bytes are not rows of {dim} float32 ({4 * dim} bytes)")
    return np.frombuffer(content, "<f4").reshape(-1, dim)


def parse_json(
    content: bytes, field: str, dim: int, max_rows: int
) -> tuple[Vectors, Mapping[str, Any]]:
    """Return the vectors `[n, dim]` of `{field: [[…], …], …}` and the other fields.

    Raises `Malformed` or `Invalid`.
    """
    parsed = json_numbers.loads(content, dim, max_rows)
    if not isinstance(parsed, dict) or field not in parsed:
        raise Invalid(f"the body is not an object with {field!r}")
    rows = parsed.pop(field)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise Invalid(f"{field} is not a list of vectors")
    for number, row in enumerate(rows):
        if len(row) != dim:
            raise Invalid(f"{field}[{number}] has {len(row)} values, not {dim}")
    try:
        values = json_numbers.float32(rows)
    except ValueError as error:
        raise Invalid(f"{field} has {error}") from error
    return values.reshape(-1, dim), parsed


def text_field(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an optional string field of a JSON body. Raises `Invalid`."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{name} is not a string")
    return value


def routing_key(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str | None:
    """Return the routing key of the header or the JSON. Raises `Invalid` if both differ."""
    header = headers.get("x-routing-key") or None
    return parameters.agreed("the routing key", header, text_field(fields, "key") or None)


def wants_binary(headers: Mapping[str, str]) -> bool:
    """Return whether `Accept` prefers raw float32. Raises `NotAcceptable`.

    Routes call it before any work starts, so that a refusal changes nothing.
    """
    given = headers.get("accept", "*/*")
    if given == "*/*":
        return False
    return accept.choose(given[:MAX_ACCEPT], (JSON_TYPE, BINARY_TYPE)) == BINARY_TYPE


def render(
    prediction: Prediction, fields: Mapping[str, object], *, binary: bool
) -> tuple[bytes, str]:
    """Return the response body and its media type.

    JSON carries `fields` beside the vector; binary is the vector alone, little-endian float32.
    """
    if binary:
        return prediction.vector.astype("<f4", copy=False).tobytes(), BINARY_TYPE
    content = {
        "next_vector": prediction.vector,
        "variant": prediction.route.variant,
        "version": prediction.route.version,
        **fields,
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), JSON_TYPE
