"""Requests of the Open Inference Protocol, as bytes on the wire."""

from __future__ import annotations

import json

import numpy as np
import pytest

from loadtest import streams
from loadtest.generator.http_client import HttpResponse
from loadtest.generator.infer_caller import InferCaller, InferModel

DATA = streams.load(streams.SAMPLE)


class RecordingClient:
    """Keeps the requests, and answers with the next of `statuses`, then with 200."""

    def __init__(self, *statuses):
        self.statuses, self.requests = list(statuses), []

    async def request(self, method, path, headers, body):
        length = int(headers["Inference-Header-Content-Length"])
        document = json.loads(body[:length])
        self.requests.append((method, path, document, np.frombuffer(body[length:], "<f4")))
        return HttpResponse(self.statuses.pop(0) if self.statuses else 200, {}, b"")


@pytest.mark.parametrize("shape", [("N", "768"), ("1", "N", "768"), ("N", "1", "768")])
async def test_a_context_has_the_models_name_tensor_and_shape(shape):
    client = RecordingClient()
    caller = InferCaller(InferModel(client, "m", "x", shape), DATA, 0, vectors=5)
    await caller.call()
    await caller.call()
    (method, path, document, one), (*_, two) = client.requests
    assert (method, path) == ("POST", "/v2/models/m/infer")
    tensor = document["inputs"][0]
    assert tensor["name"] == "x"
    assert tensor["shape"] == [5 if size == "N" else int(size) for size in shape]
    assert tensor["parameters"]["binary_data_size"] == one.nbytes == 5 * 768 * 4
    assert "sequence_id" not in document["parameters"]
    assert not np.array_equal(one, two)


async def test_a_sequence_starts_ends_and_starts_again_after_an_error():
    client = RecordingClient(200, 200, 200, 200, 503, 200)
    caller = InferCaller(InferModel(client, "m"), DATA, 0, sequence=7, limit=3)
    for _ in range(6):
        await caller.call()
    flags = [
        (document["parameters"]["sequence_start"], document["parameters"]["sequence_end"])
        for _, _, document, _ in client.requests
    ]
    first, middle, last = (True, False), (False, False), (False, True)
    assert flags == [first, middle, last, first, middle, first]
    assert {request[2]["parameters"]["sequence_id"] for request in client.requests} == {7}
