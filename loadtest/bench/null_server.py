"""A server that does nothing, to measure the load generator by itself.

It reads a whole request and responds with as many zero bytes as a binary prediction has.
It runs in a separate process, as the service does:

    python -m loadtest.bench.null_server PORT BYTES
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import httptools

from loadtest.demo.environment import EnvironmentSetupError, free_port
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient

_START_ATTEMPTS = 100
_RETRY_SECONDS = 0.1

_BACKLOG = 2048
"""As uvicorn has it. A full backlog drops connection attempts, which are repeated after 1 s."""


class _NullConnection(asyncio.Protocol):
    """Writes `response` after each complete request."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._transport.write(self._response)


async def serve(port: int, size: int) -> None:
    """Respond to every request with `size` bytes until cancelled."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    response = head + bytes(size)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _NullConnection(response), "127.0.0.1", port, backlog=_BACKLOG
    )
    await server.serve_forever()


@asynccontextmanager
async def run_null_server(size: int) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the server in a process and stop it at the end. Yields its URL and process.

    Raises `EnvironmentSetupError` if it does not start.
    """
    port = free_port()
    command = [sys.executable, "-m", "loadtest.bench.null_server", str(port), str(size)]
    process = subprocess.Popen(command)  # noqa: ASYNC220, S603  our own command, before any timing
    url = f"http://127.0.0.1:{port}"
    try:
        await _wait_until_listening(url, process)
        yield url, process
    finally:
        process.terminate()
        process.wait()


async def _wait_until_listening(url: str, process: subprocess.Popen[bytes]) -> None:
    client = HttpClient(url)
    try:
        for _ in range(_START_ATTEMPTS):
            try:
                await client.request("GET", "/")
            except ClientError:
                if process.poll() is not None:
                    break
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return
    finally:
        client.close()
    raise EnvironmentSetupError("the null server does not respond")


if __name__ == "__main__":
    run_fast(serve(int(sys.argv[1]), int(sys.argv[2])))
