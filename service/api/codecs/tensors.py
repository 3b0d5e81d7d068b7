"""Bodies of the Open Inference Protocol, version 2, with Triton's binary tensor extension.

A body is a JSON object, followed by the binary tensors that it announces, in order,
little-endian and row-major. Of HTTP, this module knows only the values of two headers.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from service.api.codecs import json_numbers, session_ids
from service.api.parameters import check_near_misses
from service.errors import Invalid, Malformed, TooLarge, UnsupportedMediaType, quoted
from service.types import Vector, Vectors

INPUT = "vectors"
OUTPUT = "next_vector"
HEADER_LENGTH = "Inference-Header-Content-Length"

_BINARY_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2")}
_REQUEST_FIELDS = ("id", "inputs", "outputs", "parameters")
_REQUEST_PARAMETERS = (
    "binary_data_output",
    "priority",
    "routing_key",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "timeout",
)
_LARGEST_ID = 2**64 - 1
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""zlib's `wbits` for each container format: gzip, and zlib, which HTTP calls deflate."""


@dataclass(frozen=True)
class SequenceStep:
    """A request's place in a sequence. `start` resets the sequence, `end` deletes it."""

    id: str
    start: bool
    end: bool


@dataclass(frozen=True)
class InferRequest:
    """An infer request. `contexts` is `[batch, n, dim]` float32 with batch ≥ 1 and n ≥ 1."""

    contexts: NDArray[np.float32]
    binary_output: bool
    id: str | None = None
    sequence: SequenceStep | None = None
    routing_key: str | None = None
    timeout_seconds: float | None = None


class RequestParameters(TypedDict):
    """What the parameters of an infer request ask for."""

    sequence: SequenceStep | None
    routing_key: str | None
    timeout_seconds: float | None


def decompress(content: bytes, encoding: str, most: int) -> bytes:
    """Return the decompressed body, of at most `most` bytes.

    Memory is bounded, however far the content expands. Raises `TooLarge`, `Malformed`
    or `UnsupportedMediaType`.
    """
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise UnsupportedMediaType(
            f"Content-Encoding is {quoted(encoding)}: send gzip, deflate or none"
        )
    stream = zlib.decompressobj(bits)
    try:
        plain = stream.decompress(content, most + 1)
    except zlib.error as error:
        raise Malformed(f"the body is not {encoding}: {error}") from error
    if len(plain) > most:
        raise TooLarge(f"the decompressed body is over {most} bytes")
    if not stream.eof:
        raise Malformed(f"the {encoding} body is truncated")
    if stream.unused_data:
        raise Malformed(f"{len(stream.unused_data)} bytes follow the {encoding} body")
    return plain


def json_length(header: str | None, size: int) -> int:
    """Return the length of the JSON at the start of a body of `size` bytes. Raises `Malformed`."""
    if header is None:
        return size
    # Limited before int(): parsing thousands of digits is slow.
    length = int(header) if re.fullmatch(r"[0-9]{1,18}", header.strip()) else -1
    if not 0 <= length <= size:
        raise Malformed(f"{HEADER_LENGTH} is {quoted(header)} and the body has {size} bytes")
    return length


def parse(content: bytes, header_length: int, dim: int, max_rows: int) -> InferRequest:
    """Parse the request in `content`, whose first `header_length` bytes are JSON.

    With length 0, the body is raw float32 rows and the response is binary. Values are
    not checked here. Raises `Malformed` for a violation of the protocol, and `Invalid`
    for a shape that is not a context or for more than `max_rows` vectors.
    """
    if header_length == 0:
        if len(content) % (4 * dim):
            raise Malformed(f"{len(content)} bytes are not rows of {dim} float32")
        rows = np.frombuffer(content, "<f4")
        contexts = shape_contexts(rows, [len(rows) // dim, dim], dim, max_rows)
        return InferRequest(contexts, binary_output=True)
    body = memoryview(content)
    request = json_numbers.loads(body[:header_length], dim, max_rows)
    if not isinstance(request, dict):
        raise Malformed("the request is not a JSON object")
    parameters = _parameters(request, "the request")
    check_near_misses(request, _REQUEST_FIELDS, "field")
    return InferRequest(
        contexts=_input(request, body[header_length:], dim, max_rows),
        binary_output=_wants_binary(request, parameters),
        id=_text(request, "id"),
        **parse_parameters(parameters),
    )


def parse_parameters(parameters: Mapping[str, Any]) -> RequestParameters:
    """Return what the parameters of a request ask for. Raises `Malformed` and `Invalid`."""
    check_near_misses(parameters, _REQUEST_PARAMETERS, "parameter")
    return {
        "sequence": _sequence(parameters),
        "routing_key": _text(parameters, "routing_key"),
        "timeout_seconds": _timeout(parameters),
    }


def read_binary(content: bytes | memoryview, datatype: object) -> NDArray[np.float32]:
    """Return the float32 values of a binary tensor. Raises `Malformed`."""
    dtype = _BINARY_TYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise Malformed(f"{INPUT} is {quoted(datatype)}; binary data must be FP32 or FP16")
    if len(content) % dtype.itemsize:
        raise Malformed(f"{INPUT}: {len(content)} bytes are not {datatype} values")
    # JSON of any length may come first: the data after it need not be aligned.
    with np.errstate(invalid="ignore"):  # a signalling NaN; it is refused later
        return np.require(np.frombuffer(content, dtype), np.float32, ["A"])


def shape_contexts(
    values: Vectors, shape: list[int], dim: int, max_rows: int
) -> NDArray[np.float32]:
    """Return `values` as contexts `[batch, n, dim]`. Raises `Malformed` and `Invalid`."""
    if math.prod(shape) != values.size:
        raise Malformed(f"{INPUT}: shape {shape} does not match {values.size} values")
    if len(shape) not in {2, 3} or shape[-1] != dim:
        raise Invalid(f"{INPUT}: shape is {shape}, not [n, {dim}] or [batch, n, {dim}]")
    # Checked before reshape: an empty batch may claim any size.
    if not values.size:
        raise Invalid(f"{INPUT}: there are no vectors")
    if values.size > max_rows * dim:
        raise Invalid(f"{values.size // dim} vectors are more than the {max_rows} allowed")
    return values.reshape(-1, *shape[-2:])


def render(
    model: str, version: str, request_id: str | None, vectors: list[Vector], *, binary: bool
) -> tuple[bytes, int | None]:
    """Return the response body, and the length of its JSON if a binary tensor follows it."""
    output: dict[str, Any] = {
        "name": OUTPUT,
        "datatype": "FP32",
        "shape": [len(vectors), len(vectors[0])],
    }
    content: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": [output]}
    if request_id is not None:
        content["id"] = request_id
    values = np.concatenate(vectors).astype("<f4", copy=False)
    if not binary:
        output["data"] = values
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), None
    output["parameters"] = {"binary_data_size": values.nbytes}
    header = orjson.dumps(content)
    return header + values.tobytes(), len(header)


# --- the input tensor ---


def _input(
    request: Mapping[str, Any], rest: memoryview, dim: int, max_rows: int
) -> NDArray[np.float32]:
    tensor = _require_single(request.get("inputs"), INPUT, "inputs")
    parameters = _parameters(tensor, INPUT)
    datatype, shape = tensor.get("datatype"), _shape(tensor.get("shape"))
    if "shared_memory_region" in parameters:
        raise Malformed(f"{INPUT}: shared memory is not supported; send the data")
    if "binary_data_size" in parameters:
        if "data" in tensor:
            raise Malformed(f"{INPUT} has both data and binary_data_size; send one")
        values = _from_binary(rest, parameters["binary_data_size"], datatype)
    else:
        if len(rest):
            raise Malformed(f"{len(rest)} bytes follow the JSON and no input announces them")
        values = _from_json(tensor.get("data"), datatype)
    return shape_contexts(values, shape, dim, max_rows)


def _from_binary(rest: memoryview, size: object, datatype: object) -> NDArray[np.float32]:
    if size != len(rest) or isinstance(size, bool):
        raise Malformed(f"{INPUT}: binary_data_size is {quoted(size)} and {len(rest)} bytes follow")
    return read_binary(rest, datatype)


def _from_json(data: object, datatype: object) -> NDArray[np.float32]:
    if datatype != "FP32":
        raise Malformed(f"{INPUT} is {quoted(datatype)}; JSON data must be FP32")
    if not isinstance(data, list):
        raise Malformed(f"{INPUT} has neither a list of data nor binary_data_size")
    try:
        return json_numbers.float32(data)
    except ValueError as error:
        raise Malformed(f"{INPUT}: data has {error}") from error


def _shape(shape: object) -> list[int]:
    if (
        not isinstance(shape, list)
        or len(shape) > 8
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise Malformed(f"{INPUT}: shape is not a list of sizes")
    return shape


# --- the options ---


def _wants_binary(request: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    default = _flag(parameters, "binary_data_output", default=False)
    if not request.get("outputs"):
        return default
    tensor = _require_single(request["outputs"], OUTPUT, "outputs")
    wanted = _parameters(tensor, OUTPUT)
    for unsupported in ("classification", "shared_memory_region"):
        if wanted.get(unsupported):
            raise Malformed(f"{OUTPUT}: {unsupported} is not supported")
    return _flag(wanted, "binary_data", default=default)


def _sequence(parameters: Mapping[str, Any]) -> SequenceStep | None:
    value = parameters.get("sequence_id")
    start = _flag(parameters, "sequence_start", default=False)
    end = _flag(parameters, "sequence_end", default=False)
    if value is None or value == "" or (type(value) is int and value == 0):
        if start or end:
            raise Malformed("sequence_start or sequence_end without a sequence_id")
        return None
    if isinstance(value, str) and session_ids.is_usable(value):
        return SequenceStep(value, start, end)
    if type(value) is int and 0 < value <= _LARGEST_ID:
        return SequenceStep(str(value), start, end)
    raise Malformed(f"sequence_id is neither a number up to 2^64 - 1 nor {session_ids.RULE}")


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Return the timeout in seconds; the protocol uses microseconds, and 0 for none."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise Malformed("timeout is not a number of microseconds")
    return value / 1e6 or None


def _require_single(tensors: object, name: str, what: str) -> Mapping[str, Any]:
    """Return the only tensor of a list, which must be named `name`."""
    if not isinstance(tensors, list) or not all(isinstance(t, dict) for t in tensors):
        raise Malformed(f"{what} is not a list of tensors")
    for tensor in tensors:
        if tensor.get("name") != name:
            raise Malformed(f"{what}: {quoted(tensor.get('name'))} is unknown; use {name!r}")
    if len(tensors) != 1:
        raise Malformed(f"{what} has {len(tensors)} tensors; it takes one, {name!r}")
    found: Mapping[str, Any] = tensors[0]
    return found


def _parameters(container: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    value = container.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"the parameters of {what} are not an object")
    return value


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Malformed(f"{name} is not true or false")
    return value


def _text(container: Mapping[str, Any], name: str) -> str | None:
    value = container.get(name)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    return value
