"""Requests and responses, between gRPC's messages and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.codecs.tensors import (
    INPUT,
    OUTPUT,
    InferRequest,
    parse_parameters,
    read_binary,
    shape_contexts,
)
from service.errors import Malformed, quoted
from service.rpc.messages import ModelInferRequest, ModelInferResponse
from service.types import Vector


def parse(content: bytes, dim: int, max_rows: int) -> tuple[Any, InferRequest]:
    """Parse a serialized `ModelInferRequest`; return the message too.

    Values are not checked here. Raises `Malformed` for a violation of the protocol, and
    `Invalid` for a shape that is not a context or for more than `max_rows` vectors.
    """
    message = read_message(content)
    return message, read_infer(message, dim, max_rows)


def read_message(content: bytes) -> Any:
    """Return a `ModelInferRequest`. Raises `Malformed`."""
    try:
        return ModelInferRequest.FromString(content)
    except Exception as error:  # protobuf's own class of errors differs between its versions
        raise Malformed("the message is not a ModelInferRequest") from error


def read_infer(message: Any, dim: int, max_rows: int) -> InferRequest:
    """Return what a `ModelInferRequest` asks for. Raises as `parse`."""
    parameters = _parameters(message.parameters)
    # A general parameter of Triton's clients; this protocol always answers in binary.
    parameters.pop("binary_data_output", None)
    _check_outputs(message.outputs)
    return InferRequest(
        contexts=_contexts(message, dim, max_rows),
        binary_output=True,
        id=message.id or None,
        **parse_parameters(parameters),
    )


def render(model: str, version: str, request_id: str | None, vectors: list[Vector]) -> Any:
    """Return a `ModelInferResponse` with the output `[batch, dim]` as raw float32."""
    values = np.concatenate(vectors).astype("<f4", copy=False)
    output = {"name": OUTPUT, "datatype": "FP32", "shape": [len(vectors), len(vectors[0])]}
    return ModelInferResponse(
        model_name=model,
        model_version=version,
        id=request_id or "",
        outputs=[output],
        raw_output_contents=[values.tobytes()],
    )


def _contexts(message: Any, dim: int, max_rows: int) -> NDArray[np.float32]:
    tensors, raw = message.inputs, message.raw_input_contents
    for tensor in tensors:
        if tensor.name != INPUT:
            raise Malformed(f"inputs: {quoted(tensor.name)} is unknown; use {INPUT!r}")
    if len(tensors) != 1:
        raise Malformed(f"inputs has {len(tensors)} tensors; it takes one, {INPUT!r}")
    tensor = tensors[0]
    if "shared_memory_region" in tensor.parameters:
        raise Malformed(f"{INPUT}: shared memory is not supported; send the data")
    if any(size < 0 for size in tensor.shape) or len(tensor.shape) > 8:
        raise Malformed(f"{INPUT}: shape is not a list of sizes")
    if raw:
        if len(raw) != 1 or tensor.HasField("contents"):
            raise Malformed(f"{INPUT}: send its data once, in raw_input_contents or in contents")
        values = read_binary(raw[0], tensor.datatype)
    else:
        if tensor.datatype != "FP32":
            raise Malformed(f"{INPUT} is {quoted(tensor.datatype)}; contents must be FP32")
        values = np.array(tensor.contents.fp32_contents, np.float32)
    return shape_contexts(values, list(tensor.shape), dim, max_rows)


def _check_outputs(outputs: Any) -> None:
    for output in outputs:
        if output.name != OUTPUT:
            raise Malformed(f"outputs: {quoted(output.name)} is unknown; use {OUTPUT!r}")
        for unsupported in ("classification", "shared_memory_region"):
            if unsupported in output.parameters:
                raise Malformed(f"{OUTPUT}: {unsupported} is not supported")
    if len(outputs) > 1:
        raise Malformed(f"outputs has {len(outputs)} tensors; it takes one, {OUTPUT!r}")


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(parameter, kind)
    return found
