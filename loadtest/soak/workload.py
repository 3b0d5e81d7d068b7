"""The mix of requests of a soak test. Each caller repeats one kind of use."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import orjson

from loadtest.generator.callers import Caller, SessionCaller, StatelessCaller
from loadtest.generator.http_client import HttpClient, HttpResponse
from loadtest.generator.infer_caller import InferCaller, InferModel
from loadtest.streams import Streams

_BINARY = "application/octet-stream"
CONTEXT = 100
"""Vectors in a stateless context."""

_STEP_ROW = np.dtype([("session", "S128"), ("position", "<i8")])
"""A row of a frame of `/v1/steps`."""


@dataclass
class StepsCaller:
    """Advances `sessions` sessions with one request, as a binary frame."""

    client: HttpClient
    streams: Streams
    number: int
    run: str
    sessions: int = 8
    sent: int = 0

    async def call(self) -> HttpResponse:
        rows = np.zeros(self.sessions, _STEP_ROW)
        rows["session"] = [f"{self.run}-m{self.number}-{i}".encode() for i in range(self.sessions)]
        rows["position"] = -1
        vectors = self.streams.read(self.number, self.sent, self.sessions)
        self.sent += 1
        frame = b"NVS1" + len(rows).to_bytes(4, "little") + rows.tobytes() + vectors.tobytes()
        headers = {"Content-Type": _BINARY, "Accept": _BINARY}
        return await self.client.request("POST", "/v1/steps", headers, frame)


@dataclass
class FeedbackCaller:
    """Sends a context as JSON, and then the vector that followed."""

    client: HttpClient
    streams: Streams
    number: int
    sent: int = 0
    request_id: str | None = None

    async def call(self) -> HttpResponse:
        headers = {"Content-Type": "application/json"}
        if self.request_id is not None:
            label = self.streams.read(self.number, self.sent, 1)[0].tolist()
            body = orjson.dumps({"request_id": self.request_id, "vector": label})
            self.request_id = None
            return await self.client.request("POST", "/v1/feedback", headers, body)
        self.sent += 1
        rows = self.streams.read(self.number, self.sent, 5)
        body = orjson.dumps({"context": rows.tolist()})
        response = await self.client.request("POST", "/v1/predict", headers, body)
        self.request_id = response.headers.get("x-request-id") if response.status == 200 else None
        return response


@dataclass
class PageCaller:
    """Reads `pages` in turn: what a dashboard and an operator's console ask for."""

    client: HttpClient
    pages: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    turns: itertools.count[int] = field(default_factory=itertools.count)

    async def call(self) -> HttpResponse:
        page = self.pages[next(self.turns) % len(self.pages)]
        return await self.client.request("GET", page, self.headers)


def make_callers(
    client: HttpClient, streams: Streams, model: str, run: str, token: str | None
) -> list[Caller]:
    """32 callers: 16 sessions, 4 contexts, 4 of `/v2`, 3 of `/v1/steps`, 3 with feedback, 2 pages.

    A driver takes them in turn, so their numbers are the shares of the requests.
    """
    pages = ("/metrics", "/v2", f"/v2/models/{model}/stats", "/v2/health/ready")
    admin = ("/admin/v1/rollout", "/admin/v1/rollout/history")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    callers: list[Caller] = []
    callers += [SessionCaller(client, streams, i, 60, run, remaining=4 * i + 1) for i in range(16)]
    callers += [StatelessCaller(client, streams, 16 + i, CONTEXT, run) for i in range(4)]
    infer = InferModel(client, model)
    callers += [
        InferCaller(infer, streams, 20 + i, sequence=f"{run}-v2-{20 + i}") for i in range(4)
    ]
    callers += [StepsCaller(client, streams, 24 + i, run) for i in range(3)]
    callers += [FeedbackCaller(client, streams, 27 + i) for i in range(3)]
    callers += [
        PageCaller(client, pages),
        PageCaller(client, (*admin, *pages) if token else pages, headers),
    ]
    # Neighbours differ, so that no kind comes in a burst.
    order = np.random.default_rng(0).permutation(len(callers))
    return [callers[i] for i in order]
