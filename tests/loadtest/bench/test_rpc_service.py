"""Steps over gRPC as the benchmark sends them."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from loadtest import streams
from loadtest.bench.rpc_service import SESSION_LENGTH, RpcCaller, step_request
from loadtest.generator.http_client import ClientError
from service.rpc.codec import parse

DATA = streams.load(streams.SAMPLE)


def read(request):
    return parse(request, 768, 10)[1]


def test_a_request_is_one_step_of_a_sequence():
    found = read(step_request(DATA, 4, 0, start=True))
    np.testing.assert_array_equal(found.contexts, DATA.read(4, 0, 1)[None])
    assert (found.sequence.id, found.sequence.start, found.sequence.end) == ("5", True, False)


async def test_a_sequence_begins_again_after_its_length():
    sent = []

    async def infer(request):
        sent.append(read(request))

    caller = RpcCaller(infer, DATA, 0)
    for _ in range(SESSION_LENGTH + 2):
        await caller.call()
    starts = [at for at, request in enumerate(sent) if request.sequence.start]
    assert starts == [0, SESSION_LENGTH]
    assert not np.array_equal(sent[0].contexts, sent[1].contexts)


async def test_a_failed_call_is_an_error():
    async def infer(_request):
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "draining")

    with pytest.raises(ClientError, match="UNAVAILABLE: draining"):
        await RpcCaller(infer, DATA, 0).call()
