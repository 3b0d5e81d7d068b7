"""Requests of the Open Inference Protocol, and their responses."""

from __future__ import annotations

import numpy as np
import orjson

from tests.support.fakes import unit_vectors

MODEL = "/v2/models/next-vector"
LENGTH = "Inference-Header-Content-Length"
CONTEXT = unit_vectors(5)


def infer_json(vectors, **request):
    tensor = {
        "name": "vectors",
        "shape": list(vectors.shape),
        "datatype": "FP32",
        "data": vectors.tolist(),
    }
    return {"content": orjson.dumps({"inputs": [tensor], **request})}


def infer_binary(vectors, *, headers=None, **request):
    raw = vectors.astype("<f4").tobytes()
    tensor = {
        "name": "vectors",
        "shape": list(vectors.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    request = {"parameters": {"binary_data_output": True}, **request}
    header = orjson.dumps({"inputs": [tensor], **request})
    return {"content": header + raw, "headers": {LENGTH: str(len(header)), **(headers or {})}}


def output_of(response):
    """The output tensor of a response in either form."""
    assert response.status_code == 200, response.text
    length = response.headers.get(LENGTH)
    head = response.content if length is None else response.content[: int(length)]
    (output,) = orjson.loads(head)["outputs"]
    if length is None:
        values = np.array(output["data"], np.float32)
    else:
        values = np.frombuffer(response.content[int(length) :], "<f4")
    return values.reshape(output["shape"])


async def infer(service, vectors, path=MODEL, *, headers=None, **parameters):
    """The response to an inference request with these parameters."""
    return await service.client.post(
        f"{path}/infer", **infer_json(vectors, parameters=parameters), headers=headers
    )
