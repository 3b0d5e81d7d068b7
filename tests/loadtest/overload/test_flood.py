"""A flood against a small server on a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from loadtest.overload.flood import Flood
from service.clock import SystemClock


class FixedRequests:
    """Sends the same request over and over, and keeps the statuses."""

    def __init__(self):
        self.statuses = []

    def next(self):
        return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def note(self, status):
        self.statuses.append(status)


class FloodServer:
    """Answers with `statuses` in turn: 0 closes the connection, None never answers."""

    def __init__(self, *statuses):
        self.statuses, self.connections, self.requests = statuses, 0, 0
        self.address = ("127.0.0.1", 0)
        self._writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self._writers.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            status = self.statuses[self.requests % len(self.statuses)]
            self.requests += 1
            if status == 0:
                break
            if status is not None:
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % status)
        writer.close()

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()[:2]
        try:
            yield self
        finally:
            for writer in self._writers:
                writer.close()
            server.close()
            await server.wait_closed()


def flood_of(server, most=8, sources=None):
    kept = [] if sources is None else sources

    def make(_number):
        kept.append(FixedRequests())
        return kept[-1]

    return Flood(server.address, make, SystemClock(), most)


async def test_every_arrival_is_logged_with_its_status():
    async with FloodServer(200, 429, 0).listening() as server:
        sources = []
        flood = flood_of(server, sources=sources)
        await flood.run(i / 1000 for i in range(60))
        await flood.finish(5)
        await flood.close()
    counts = {status: sum(r.status == status for r in flood.requests) for status in (200, 429, 0)}
    assert counts == {200: 20, 429: 20, 0: 20}
    assert len(flood.lags) == 60
    assert all(request.latency >= request.late >= 0 for request in flood.requests)
    assert sorted(s for source in sources for s in source.statuses) == sorted(
        request.status for request in flood.requests
    )
    # A source outlives its connection.
    assert len(sources) <= 8 < server.connections


async def test_an_arrival_waits_when_all_connections_are_busy():
    async with FloodServer(None).listening() as server:
        flood = flood_of(server, most=2)
        await flood.run([0.0] * 5)
        await flood.finish(0.1)
        await flood.close()
    assert [request.status for request in flood.requests] == [0] * 5
    assert server.requests == 2


async def test_a_server_that_is_not_there_is_no_response():
    async with FloodServer(200).listening() as server:
        flood = flood_of(server)
    await flood.run([0.0, 0.0])
    await flood.finish(5)
    assert [request.status for request in flood.requests] == [0, 0]
    assert all(request.error for request in flood.requests)


@pytest.mark.parametrize(("statuses", "share"), [((200,), 1.0), ((200, 429), 0.5)])
async def test_a_closed_loop_counts_what_was_answered(statuses, share):
    async with FloodServer(*statuses).listening() as server:
        flood = flood_of(server, most=2)
        rate = await flood.run_closed(2, 0.2)
        await flood.close()
    assert rate * 0.2 == pytest.approx(share * server.requests, abs=4)
    assert server.connections == 2
