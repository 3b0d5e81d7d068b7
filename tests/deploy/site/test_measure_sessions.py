"""The measurement of sessions, on a service of a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import pytest

from deploy.site.pictures.measure_sessions import CONTEXTS, STEPS, measure

DIM = 4


@dataclass
class PretendedService:
    """Answers as the service does: 1 ms a vector, plus noise that only adds."""

    lengths: dict[str, int] = field(default_factory=dict)
    contexts: list[bytes] = field(default_factory=list)
    requests: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        path = request.url.path
        vectors = len(request.content) // (4 * DIM)
        if request.method == "DELETE":
            del self.lengths[path]
            return httpx.Response(204)
        if request.method == "GET":
            return httpx.Response(200, json={"bytes": 1000 + 10 * self.lengths[path]})
        if path == "/v1/predict":
            self.contexts.append(request.content)
        else:
            session = path.removesuffix("/vectors")
            self.lengths[session] = self.lengths.get(session, 0) + vectors
        took = vectors + self.requests % 3
        return httpx.Response(200, headers={"Server-Timing": f"queue;dur=9, inference;dur={took}"})


def test_a_session_costs_a_step_and_a_context_all_its_vectors():
    service = PretendedService()
    with httpx.Client(transport=httpx.MockTransport(service), base_url="http://x") as client:
        costs = measure(client, (5, 50), DIM)
    assert [(5, 1050, 1.0, 5.0), (50, 1500, 1.0, 50.0)] == [
        (cost.vectors, cost.session_bytes, cost.step_ms, cost.context_ms) for cost in costs
    ]
    assert {} == service.lengths
    assert 2 * (1 + STEPS + 2 + CONTEXTS) + 1 == service.requests


def test_no_context_is_sent_twice():
    """The prefix cache would know it."""
    service = PretendedService()
    with httpx.Client(transport=httpx.MockTransport(service), base_url="http://x") as client:
        measure(client, (5, 5), DIM)
    assert len(set(service.contexts)) == len(service.contexts)


def test_a_service_that_refuses_is_an_error():
    refusing = httpx.MockTransport(lambda request: httpx.Response(429))
    with (
        httpx.Client(transport=refusing, base_url="http://x") as client,
        pytest.raises(httpx.HTTPStatusError),
    ):
        measure(client, (5,), DIM)
