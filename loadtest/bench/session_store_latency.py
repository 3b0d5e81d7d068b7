"""What a shared store of sessions adds to a step over HTTP: three servers, measured in turn.

    python -m loadtest.bench.session_store_latency --url redis://127.0.0.1:6379 --models models

One server keeps sessions in its memory, one in the store with `durability = async`, and one with
`sync`. There is no load balancer. They alternate, so that other work of the machine affects all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from loadtest.bench.http_service import SESSION_LENGTH
from loadtest.demo.environment import ServerProcess, run_server
from loadtest.generator import closed_loop
from loadtest.generator.callers import make_session_callers
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import HttpClient
from loadtest.streams import Streams, load
from loadtest.timings import percentile
from service.clock import Clock, SystemClock

STORES = ("memory", "async", "sync")


def server_settings(store: str, url: str) -> dict[str, str]:
    """The settings of a server that keeps its sessions in `store`, one of `STORES`."""
    if store == "memory":
        return {}
    return {
        "NEXTVEC_FLEET__NAME": f"bench-{store}",
        "NEXTVEC_SESSIONS__URL": url,
        "NEXTVEC_SESSIONS__DURABILITY": store,
    }


async def measure(
    urls: Mapping[str, str],
    streams: Streams,
    callers: int,
    rounds: int,
    seconds: float,
    clock: Clock,
) -> dict[str, list[float]]:
    """Seconds of each step, by server. Each of `rounds` sends to every server for `seconds`.

    Raises `ClientError` if a step fails.
    """
    durations: dict[str, list[float]] = {name: [] for name in urls}
    for turn in range(rounds):
        for name, url in urls.items():
            client = HttpClient(url)
            try:
                steps = make_session_callers(
                    client, streams, callers, SESSION_LENGTH, f"{name}-{turn}"
                )
                durations[name] += await closed_loop.collect(steps, seconds, clock)
            finally:
                client.close()
    return durations


def table_rows(durations: Mapping[str, list[float]]) -> Iterator[tuple[str, ...]]:
    """A row for each server: P50 and P99 in ms, and what they add to those in memory, in %."""
    base = durations["memory"]
    for name, values in durations.items():
        row = [name]
        for q in (50.0, 99.0):
            value, without = percentile(values, q), percentile(base, q)
            row += [f"{1000 * value:.2f}", f"{100 * (value / without - 1):+.1f}"]
        yield tuple(row)


def main(
    url: Annotated[str, typer.Option(help="The store, such as redis://127.0.0.1:6379.")],
    models: Annotated[Path, typer.Option(help="Directory of exported versions.")] = Path("models"),
    version: Annotated[str, typer.Option(help="The version that answers.")] = "phase-2",
    callers: Annotated[int, typer.Option(min=1, help="Sessions side by side.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each server.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each turn.")] = 4.0,
) -> None:
    """Print how long a step takes over HTTP with and without a shared store of sessions."""
    with TemporaryDirectory(prefix="nextvec-") as folder, ExitStack() as stack:
        servers = {}
        for store in STORES:
            out = Path(folder) / store
            out.mkdir()
            servers[store] = stack.enter_context(
                run_server(models, out, version, None, server_settings(store, url))
            )
        clock = SystemClock()
        run_fast(_wait(servers.values(), clock))
        urls = {store: server.url for store, server in servers.items()}
        durations = run_fast(measure(urls, load(), callers, rounds, seconds, clock))
    table = Table(title=f"A step over HTTP, {callers} sessions side by side")
    for name in ("store", "P50 ms", "added %", "P99 ms", "added %"):
        table.add_column(name, justify="left" if name == "store" else "right")
    for row in table_rows(durations):
        table.add_row(*row)
    Console().print(table)


async def _wait(servers: Collection[ServerProcess], clock: Clock) -> None:
    await asyncio.gather(*[server.ready(clock, 60.0) for server in servers])


if __name__ == "__main__":
    typer.run(main)
