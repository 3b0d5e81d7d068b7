"""A server that does nothing: what is measured against it is the load generator's own.

It reads a whole request and answers as many zero bytes as a binary prediction
has. Run as a process of its own, as the service is:

    python -m loadtest.bench.null_server PORT BYTES
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools

from loadtest.generator.event_loop import run_fast


class _NullConnection(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)


async def serve(port: int, size: int) -> None:
    """Answer until cancelled."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    answer = head + bytes(size)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _NullConnection(answer), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    run_fast(serve(int(sys.argv[1]), int(sys.argv[2])))
