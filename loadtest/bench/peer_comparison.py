"""`nextvec bench --against`: the same load on nextvec and on another server of the protocol."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from loadtest.bench.table import BenchmarkRow
from loadtest.generator import closed_loop
from loadtest.generator.callers import Caller
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.infer_caller import InferCaller, InferModel
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock

_ROUNDS = 3
"""Turns of each server: they alternate, so that other work of the machine affects both."""


@dataclass(frozen=True)
class ModelMetadata:
    """What `/v2` says of a model. `shape` is that of its only float32 input; -1: any size."""

    name: str
    tensor: str
    shape: tuple[int, ...]
    sequences: bool


def read_metadata(url: str, model: str | None) -> ModelMetadata:
    """Ask the server at `url` for its model, which must have one input.

    Without `model` the server must name its models, and have one. Raises `ClientError` if the
    server cannot be used; the message says what to do.
    """
    return run_fast(_read(url, model))


def infer_model(
    client: HttpClient, found: ModelMetadata, dim: int, shape: str | None
) -> InferModel:
    """Return how to call the model with vectors of width `dim`.

    `shape` is the option's, such as `1,N,768`. Without it the metadata must have two or three
    dimensions: vectors and width, or batch before them. Raises `ClientError`.
    """
    if shape is not None:
        sizes = tuple(part.strip() for part in shape.split(","))
        if sizes.count("N") != 1 or not all(s == "N" or s.isdecimal() for s in sizes):
            raise ClientError(f"the shape {shape!r} is not a list of sizes with one N: 1,N,{dim}")
        return InferModel(client, found.name, found.tensor, sizes)
    if len(found.shape) not in {2, 3} or found.shape[-1] not in {-1, dim}:
        raise ClientError(
            f"the input {found.tensor} of {found.name} has the shape {list(found.shape)}, not "
            f"[vectors, {dim}] or [batch, vectors, {dim}]; give the shape with --against-shape"
        )
    ends = ("N", str(dim))
    return InferModel(
        client, found.name, found.tensor, ends if len(found.shape) == 2 else ("1", *ends)
    )


@dataclass(frozen=True)
class PeerComparison:
    """Measures nextvec, `ours`, and the other server, `theirs`, in turn.

    Contexts of `lengths` vectors go to both; steps of sequences as well if `sequences`.
    """

    ours: InferModel
    theirs: InferModel
    streams: Streams
    clock: Clock
    seconds: float
    lengths: Sequence[int]
    sequences: bool
    context_callers: Sequence[int] = (1, 4)
    sequence_callers: Sequence[int] = (1, 8, 32)

    def rows(self) -> Iterator[BenchmarkRow]:
        """Measure one row after the other. Raises `ClientError` at the first failed request."""
        for length in self.lengths:
            for count in self.context_callers:
                what = f"context of {length}, {count} caller{'s' if count > 1 else ''}"
                yield from self._pair(what, partial(self._contexts, length, count))
        if self.sequences:
            for count in self.sequence_callers:
                what = f"step, {count} sequence{'s' if count > 1 else ''}"
                yield from self._pair(what, partial(self._steps, count))

    def _pair(self, what: str, callers: partial[list[Caller]]) -> Iterator[BenchmarkRow]:
        ours: list[Timings] = []
        theirs: list[Timings] = []
        for _ in range(_ROUNDS):
            for model, times in ((self.ours, ours), (self.theirs, theirs)):
                seconds = self.seconds / _ROUNDS
                times.append(run_fast(self._time(model, callers(model), seconds)))
        first, second = _middle(ours), _middle(theirs)
        yield BenchmarkRow(f"{what}: nextvec", "P50 ms", first.p50 * 1000, times=first)
        yield BenchmarkRow(
            f"{what}: the other server", "P50 ÷ nextvec's", second.p50 / first.p50, times=second
        )

    async def _time(self, model: InferModel, callers: list[Caller], seconds: float) -> Timings:
        try:
            return await closed_loop.run(callers, seconds, self.clock)
        finally:
            model.client.close()  # its connections belong to this event loop

    def _contexts(self, length: int, count: int, model: InferModel) -> list[Caller]:
        # New streams each time, so that a cache of prefixes does not know them.
        first = secrets.randbelow(2**20)
        return [InferCaller(model, self.streams, first + i, length) for i in range(count)]

    def _steps(self, count: int, model: InferModel) -> list[Caller]:
        # Numbers, because some servers take no other names of sequences.
        first = secrets.randbelow(2**31) + 1
        return [InferCaller(model, self.streams, i, 1, first + i, limit=400) for i in range(count)]


def _middle(times: Sequence[Timings]) -> Timings:
    """The timings of the round with the median P50."""
    return sorted(times, key=lambda one: one.p50)[len(times) // 2]


async def _read(url: str, model: str | None) -> ModelMetadata:
    client = HttpClient(url)
    try:
        server = await _json(client, "/v2")
        name = model or await _only_model(client)
        found = await _json(client, f"/v2/models/{name}")
    finally:
        client.close()
    inputs = found.get("inputs") or []
    usable = [one for one in inputs if one.get("datatype") == "FP32"]
    if len(inputs) != 1 or len(usable) != 1:
        names = ", ".join(f"{one.get('name')} ({one.get('datatype')})" for one in inputs)
        raise ClientError(
            f"{name} at {url} has the inputs {names or 'none'}: this load sends one FP32 input"
        )
    shape = tuple(int(size) for size in usable[0].get("shape", ()))
    extensions = server.get("extensions") or []
    return ModelMetadata(name, str(usable[0]["name"]), shape, "sequence" in extensions)


async def _only_model(client: HttpClient) -> str:
    response = await client.request("GET", "/v2/models")
    found = response.json() if response.status == 200 else None
    names = found.get("models") if isinstance(found, dict) else None
    if not isinstance(names, list) or len(names) != 1:
        raise ClientError("the server does not name one model: give its name with --against-model")
    return str(names[0])


async def _json(client: HttpClient, path: str) -> dict[str, Any]:
    response = await client.request("GET", path)
    if response.status != 200:
        raise ClientError(f"GET {path} has the status {response.status}; is it an OIP server?")
    found = response.json()
    if not isinstance(found, dict):
        raise ClientError(f"GET {path} is no JSON object; is it an OIP server?")
    return found
