"""KServe's client against a running server: `kserve_calls.py URL`, answers as JSON.

A script and not a test: kserve pins older versions of packages than this project
has, so it is run by an interpreter of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "next-vector"


async def main(url: str) -> dict[str, object]:
    vectors = np.load(io.BytesIO(sys.stdin.buffer.read()))
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30, retries=0))
    found: dict[str, object] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, MODEL),
        "other_ready": await client.is_model_ready(url, "other"),
    }
    for form in ("json", "binary"):
        binary = form == "binary"
        tensor = InferInput("vectors", list(vectors.shape), "FP32")
        tensor.set_data_from_numpy(vectors, binary_data=binary)
        request = InferRequest(
            model_name=MODEL,
            infer_inputs=[tensor],
            request_id="k-1",
            request_outputs=[RequestedOutput("next_vector", {"binary_data": binary})],
        )
        answer = await client.infer(url, request, model_name=MODEL)
        found[form] = {
            "id": answer.id,
            "model": answer.model_name,
            "vector": answer.outputs[0].as_numpy().tolist(),
        }
    tensor = InferInput("vectors", [1, 3], "FP32", [1.0, 2.0, 3.0])
    try:
        await client.infer(url, InferRequest(MODEL, [tensor]), model_name=MODEL)
    except Exception as error:  # noqa: BLE001  whatever it raises is what is asked here
        found["error"] = str(error)
    await client.close()
    return found


if __name__ == "__main__":
    json.dump(asyncio.run(main(sys.argv[1])), sys.stdout)
