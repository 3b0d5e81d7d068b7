"""What a shared store of sessions adds to a step: processor time of this process, and latency.

    python -m loadtest.bench.session_store_cost --url redis://127.0.0.1:6379

The service's own objects run here, with an engine that returns at once: everything but HTTP and the
engine is in the figures. The row `memory` is what a step costs without a store.
"""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from loadtest.bench.service_overhead import instant_dispatch
from loadtest.streams import Streams, load
from service.clock import SystemClock
from service.contexts.session_store import SessionStore
from service.fleet.identity import identify
from service.manifest import Dimensions, Manifest, Parity
from service.metrics import Metrics, new_registry
from service.prediction.dispatch import Dispatch
from service.prediction.request import RequestOptions
from service.settings import SessionSettings
from service.shared_sessions import SharedSessions

_WINDOW = 100
_ROUNDS = 400
"""Steps of each session that are measured."""

Durability = Literal["async", "sync"]


@dataclass(frozen=True)
class StepCost:
    """Processor time and latency of a step, in µs."""

    cpu: float
    p50: float
    p99: float


async def measure(dispatch: Dispatch, streams: Streams, callers: int) -> StepCost:
    """Run `_ROUNDS` steps of each of `callers` sessions, the sessions side by side."""
    latencies: list[float] = []

    async def call(number: int, rounds: range) -> None:
        for position in rounds:
            rows = streams.read(number, position, 1)
            began = time.perf_counter()
            await dispatch.append(f"s{number}", rows, RequestOptions(), position=position)
            latencies.append(time.perf_counter() - began)

    async def round_of(rounds: range) -> float:
        latencies.clear()
        began = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*[call(number, rounds) for number in range(callers)])
        ended = resource.getrusage(resource.RUSAGE_SELF)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    await round_of(range(50))
    cpu = await round_of(range(50, 50 + _ROUNDS))
    ordered = sorted(latencies)
    return StepCost(
        1e6 * cpu / len(ordered),
        1e6 * ordered[len(ordered) // 2],
        1e6 * ordered[len(ordered) * 99 // 100],
    )


async def compare(url: str, callers: int) -> dict[str, StepCost]:
    """The cost of a step in memory, and with the store at `url` in both durabilities."""
    streams = load()
    manifest = _manifest(streams)
    costs = {}
    for kind in ("memory", "async", "sync"):
        store: SessionStore | None = None
        if kind != "memory":
            store = await _open(url, cast("Durability", kind), manifest.dimensions.dim)
        dispatch, _ = instant_dispatch(manifest, SystemClock(), _WINDOW, compact=True, store=store)
        costs[kind] = await measure(dispatch, streams, callers)
        if store is not None:
            await store.close()
    return costs


async def _open(url: str, durability: Durability, dim: int) -> SessionStore:
    settings = SessionSettings.model_validate(
        {"url": url, "durability": durability, "history_vectors": _WINDOW, "ttl_seconds": 60.0}
    )
    identity = identify(f"bench-{time.time_ns()}", "bench", 0)
    shared = SharedSessions(settings, identity, SystemClock(), Metrics(new_registry(), 10.0))
    await shared.connect()
    return await shared.open_store("bench", dim)


def _manifest(streams: Streams) -> Manifest:
    return Manifest(
        model="bench",
        version="bench",
        architecture="none",
        dimensions=Dimensions(dim=streams.read(0, 0, 1).shape[1], layers=4, hidden=512),
        context_window=_WINDOW,
        window_policy="anchored",
        precision="fp32",
        parameters=1,
        opset=20,
        files={},
        source_sha256="0" * 64,
        parity=Parity(bound=1e-5, max_abs_difference=0.0, cases=()),
        tools={},
    )


def main(
    url: Annotated[str, typer.Option(help="The server, such as redis://127.0.0.1:6379.")],
    callers: Annotated[int, typer.Option(help="Sessions side by side.")] = 8,
) -> None:
    """Print what a step costs with and without a shared store of sessions."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        costs = runner.run(compare(url, callers))
    table = Table(title=f"One step, {callers} sessions side by side, without HTTP and the engine")
    for name in ("store", "CPU µs", "added CPU µs", "P50 µs", "P99 µs"):
        table.add_column(name, justify="left" if name == "store" else "right")
    for kind, cost in costs.items():
        added = cost.cpu - costs["memory"].cpu
        table.add_row(kind, f"{cost.cpu:.0f}", f"{added:.0f}", f"{cost.p50:.0f}", f"{cost.p99:.0f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
