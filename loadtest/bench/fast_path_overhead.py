"""Overhead of the service for a step, without the engine and the sockets.

The service runs in this process, with an engine that returns at once and a transport in
memory. The time runs from the bytes of the request to the bytes of the response.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from uvicorn.server import ServerState

from loadtest.bench.echo_engine import EchoEngine
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.api.server import server_config
from service.app import create_app
from service.clock import Clock
from service.settings import RolloutSettings, Settings

_SESSION_LENGTH = 400


class _MemoryTransport(asyncio.Transport):
    """Hands the bytes of a response to a future."""

    def __init__(self) -> None:
        super().__init__()
        self.response: asyncio.Future[bytes] | None = None

    def write(self, data: Any) -> None:
        assert self.response is not None
        self.response.set_result(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Do nothing: there is no socket."""


async def time_steps(
    models: Path, version: str, streams: Streams, count: int, clock: Clock
) -> Timings:
    """Time appends of one vector, from the bytes of the request to those of the response.

    Raises `RuntimeError` if the status is not 200.
    """
    with tempfile.TemporaryDirectory() as folder:
        rollout = RolloutSettings(database=Path(folder) / "rollout.db")
        settings = Settings(models=models, stable=version, rollout=rollout)
        app = create_app(settings, make_engine=EchoEngine)
        async with app.router.lifespan_context(app):
            config = server_config(app, app.state.services)
            config.load()
            protocol = config.http_protocol_class(
                config=config, server_state=ServerState(), app_state={}
            )  # type: ignore[call-arg]  # uvicorn calls it so
            transport = _MemoryTransport()
            protocol.connection_made(transport)
            durations = []
            for i in range(count):
                request = _request(streams, i // _SESSION_LENGTH, i % _SESSION_LENGTH)
                transport.response = asyncio.get_running_loop().create_future()
                begin = clock.monotonic()
                protocol.data_received(request)
                response = await transport.response
                durations.append(clock.monotonic() - begin)
                if not response.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(f"the service responded {response[:300]!r}")
            protocol.connection_lost(None)
    return Timings.of(durations[count // 10 :])


def _request(streams: Streams, number: int, position: int) -> bytes:
    body = streams.read(number, position, 1).tobytes()
    lines = (
        f"POST /v1/sessions/fast-path-{number}/vectors?position={position} HTTP/1.1",
        "Host: 127.0.0.1:8080",
        "Content-Type: application/octet-stream",
        "Accept: application/octet-stream",
        f"Content-Length: {len(body)}",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + body
