"""What happens beside the requests of a soak test: callers that go away, streams, rollouts."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loadtest.rollout_client import AdminError, RolloutClient

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing the socket sends a reset."""


@dataclass
class Disturbances:
    """Runs until it is cancelled; counts what it did."""

    url: str
    token: str | None
    random: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311
    aborted: int = 0
    streams_read: int = 0
    rollouts: int = 0

    async def abort_requests(self, body: bytes, gap: float = 0.2) -> None:
        """Send a context, whole or in part, and go away before the answer, every `gap` seconds."""
        head = f"POST /v1/predict HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n"
        request = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + body
        while True:
            writer = await self._connect(request[: self.random.randint(1, len(request))])
            await asyncio.sleep(self.random.uniform(0, 0.05))
            if writer is not None:
                if self.random.random() < 0.5:
                    found: socket.socket = writer.get_extra_info("socket")
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.close()
                self.aborted += 1
            await asyncio.sleep(gap)

    async def read_events(self, seconds: float = 3.0) -> None:
        """Follow the stream of events for up to `seconds`, and connect again."""
        address = urlsplit(self.url)
        head = (
            f"GET /admin/v1/rollout/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Accept: text/event-stream\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        )
        while True:
            reader, writer = None, None
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self.random.uniform(0.1, seconds)):
                    reader, writer = await asyncio.open_connection(address.hostname, address.port)
                    writer.write(head.encode())
                    while await reader.read(65536):
                        pass
            if writer is not None:
                writer.close()
                self.streams_read += 1
            await asyncio.sleep(0.1)

    async def run_rollouts(self, admin: RolloutClient, canary: str, seconds: float = 10.0) -> None:
        """Start a rollout of `canary`, abort it after `seconds`, and wait as long again."""
        while True:
            with suppress(AdminError):
                await admin.start(canary, {})
                self.rollouts += 1
                await asyncio.sleep(seconds)
                await admin.abort()
            await asyncio.sleep(seconds)

    async def _connect(self, data: bytes) -> asyncio.StreamWriter | None:
        address = urlsplit(self.url)
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            return None
        writer.write(data)
        return writer
