"""One input on a connection of its own, against a small server on a real socket."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
import uvloop

from loadtest.fuzz.exchange import exchange, pieces


@asynccontextmanager
async def answering(content, *, abort):
    """A server that answers with `content` as soon as a connection opens."""

    async def serve(reader, writer):
        writer.write(content)
        if abort:
            writer.transport.abort()
            return
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("abort", [False, True])
def test_a_server_that_closes_early_is_no_error(loop, abort):
    """Whatever of the input is still to be sent, and however it is cut."""

    async def run():
        async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", abort=abort) as url:
            return [await exchange(url, b"x" * 300_000, random.Random(i)) for i in range(12)]

    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(run())
    assert {tuple(statuses) for statuses in found} <= {(), (400,)}
    assert abort or [400] in found


def test_the_pieces_are_the_input():
    for seed in range(50):
        data = bytes(range(100))
        assert b"".join(pieces(data, random.Random(seed))) == data
