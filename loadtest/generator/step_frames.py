"""A caller that appends a vector to each of many sessions with every request."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from loadtest.generator.http_client import HttpClient, HttpResponse
from loadtest.streams import Streams

_SESSION_LENGTH = 400
_BINARY = "application/octet-stream"
_ROW = np.dtype([("session", "S128"), ("position", "<i8")])
"""A row of a request to `/v1/steps`, as docs/reference/http-api.md has it."""


@dataclass
class StepFrameCaller:
    """Appends a vector to each of `rows` sessions with every request to `/v1/steps`.

    The sessions begin again after 400 vectors, which is less than every window.
    """

    client: HttpClient
    streams: Streams
    number: int
    rows: int
    run: str
    position: int = 0

    async def call(self) -> HttpResponse:
        heads = np.zeros(self.rows, _ROW)
        begun, position = divmod(self.position, _SESSION_LENGTH)
        heads["session"] = [f"{self.run}-{self.number}-{i}-{begun}" for i in range(self.rows)]
        heads["position"] = position
        vectors = np.concatenate(
            [self.streams.read(self.number + i, self.position, 1) for i in range(self.rows)]
        )
        self.position += 1
        body = b"NVS1" + struct.pack("<I", self.rows) + heads.tobytes() + vectors.tobytes()
        headers = {"Content-Type": _BINARY, "Accept": _BINARY}
        return await self.client.request("POST", "/v1/steps", headers, body)
