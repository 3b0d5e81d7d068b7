"""The measurement of a step over HTTP, on a real server."""

from __future__ import annotations

from loadtest.bench.session_store_latency import measure
from loadtest.streams import load
from service.clock import SystemClock


async def test_every_server_has_its_turns(server):
    address = str(server.client.base_url).rstrip("/")
    urls = {"memory": address, "sync": address}
    durations = await measure(urls, load(), 2, 2, 0.2, SystemClock())
    assert {"memory", "sync"} == set(durations)
    assert all(len(values) > 2 and min(values) > 0 for values in durations.values())
