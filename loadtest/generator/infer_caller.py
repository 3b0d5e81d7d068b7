"""A caller of the Open Inference Protocol over HTTP, with binary tensors."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from loadtest.generator.http_client import HttpClient, HttpResponse
from loadtest.streams import Streams


@dataclass(frozen=True)
class InferModel:
    """A model of a server, and how its input is shaped.

    `shape` has an N where the number of vectors stands, for instance `("1", "N", "768")`.
    """

    client: HttpClient
    name: str
    tensor: str = "vectors"
    shape: tuple[str, ...] = ("N", "768")

    def shape_of(self, vectors: int) -> list[int]:
        """Return the shape of an input of `vectors` vectors."""
        return [vectors if size == "N" else int(size) for size in self.shape]


@dataclass
class InferCaller:
    """Sends `vectors` vectors each time.

    With `sequence` they continue a sequence of that name, which ends and begins again after
    `limit` requests; otherwise each request is a context of its own.
    """

    model: InferModel
    streams: Streams
    number: int
    vectors: int = 1
    sequence: str | int | None = None
    limit: int = 30
    sent: int = 0

    async def call(self) -> HttpResponse:
        turn = self.sent % self.limit
        rows = self.streams.read(self.number, self.sent, self.vectors)
        self.sent += 1
        document: dict[str, object] = {
            "inputs": [
                {
                    "name": self.model.tensor,
                    "datatype": "FP32",
                    "shape": self.model.shape_of(self.vectors),
                    "parameters": {"binary_data_size": rows.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
        if self.sequence is not None:
            document["parameters"] = {
                "binary_data_output": True,
                "sequence_id": self.sequence,
                "sequence_start": turn == 0,
                "sequence_end": turn == self.limit - 1,
            }
        head = orjson.dumps(document)
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        }
        path = f"/v2/models/{self.model.name}/infer"
        response = await self.model.client.request("POST", path, headers, head + rows.tobytes())
        if response.status != 200:
            self.sent += -self.sent % self.limit  # begin the sequence again
        return response
