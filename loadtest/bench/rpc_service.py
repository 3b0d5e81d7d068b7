"""Steps over gRPC, beside those over HTTP."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from loadtest.bench.http_service import BenchmarkTarget
from loadtest.generator import closed_loop
from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.streams import Streams
from loadtest.timings import Timings

METHOD = "/inference.GRPCInferenceService/ModelInfer"
SESSION_LENGTH = 400
MODEL = "next-vector"


def is_installed() -> bool:
    """Whether the extra `grpc` is there."""
    return importlib.util.find_spec("grpc") is not None


@dataclass
class RpcCaller:
    """Steps one sequence after the other, a vector a call. `infer` is the method's stub."""

    infer: Any
    streams: Streams
    number: int
    sent: int = 0

    async def call(self) -> HttpResponse:
        """Send the next step; the response is empty. Raises `ClientError`."""
        import grpc  # noqa: PLC0415  an extra

        turn = self.sent % SESSION_LENGTH
        request = step_request(self.streams, self.number, self.sent, start=turn == 0)
        self.sent += 1
        try:
            await self.infer(request)
        except grpc.aio.AioRpcError as error:
            raise ClientError(f"{error.code()}: {error.details()}") from error
        return HttpResponse(200, {}, b"")


def step_request(streams: Streams, number: int, at: int, *, start: bool) -> bytes:
    """Return a serialized request with one vector of stream `number`."""
    from service.rpc.messages import ModelInferRequest  # noqa: PLC0415  an extra

    row = streams.read(number, at, 1)
    request: bytes = ModelInferRequest(
        model_name=MODEL,
        inputs=[{"name": "vectors", "datatype": "FP32", "shape": list(row.shape)}],
        raw_input_contents=[row.tobytes()],
        parameters={
            "sequence_id": {"int64_param": number + 1},
            "sequence_start": {"bool_param": start},
        },
    ).SerializeToString()
    return request


async def time_steps(target: BenchmarkTarget, port: int, count: int) -> Timings:
    """Time steps of one vector over gRPC, `count` sequences at once on one connection."""
    import grpc  # noqa: PLC0415  an extra

    client = await target.ready()
    client.close()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(METHOD)
        callers = [RpcCaller(infer, target.streams, number) for number in range(count)]
        return await closed_loop.run(callers, target.seconds, target.clock)
