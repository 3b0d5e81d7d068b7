"""The admin API as the load test uses it."""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest

from loadtest.rollout_client import AdminError, RolloutClient, parse_sample, watch_rollout
from tests.support.rollout_status import status


class FakeService:
    """Records the requests and responds from a list; the last response is repeated."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        response = self.responses[0] if len(self.responses) == 1 else self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response[0], json=response[1])


def ok(code=200, **changes):
    return code, status(**changes)


def rollout_client(*responses):
    service = FakeService(*responses)
    transport = httpx.MockTransport(service)
    client = RolloutClient("http://service:8080", "secret", lambda: 7.5, transport)
    return service, client


def test_a_sample_has_the_weight_the_phase_and_the_guardrails_evidence():
    """And the time at which it was taken."""
    sample = parse_sample(status(), 7.5)
    assert (7.5, "Progressing", 25.0, 3) == (
        sample.at,
        sample.phase,
        sample.weight,
        sample.generation,
    )
    assert (1.2, -0.5, 4.605, 1.9) == (sample.fail, sample.good, sample.bound, sample.ratio)


def test_before_the_first_rollout_there_is_no_evidence():
    """None and not zero: no guardrail has been evaluated."""
    quiet = status(phase="Healthy", reason=None, message="", canary=None, step=None, guardrails=[])
    sample = parse_sample(quiet, 0.0)
    assert (None, None, None) == (sample.fail, sample.good, sample.bound)
    assert ("", "") == (sample.reason, sample.canary)


@pytest.mark.parametrize("document", [{}, [], {"guardrails": [1]}, status(weight=None)])
def test_another_document_is_an_error(document):
    """It does not become a partial sample."""
    with pytest.raises(AdminError, match="unexpected form"):
        parse_sample(document, 0.0)


async def test_a_response_that_is_not_json_is_an_error():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    client = RolloutClient("http://service:8080", "secret", lambda: 0.0, transport)
    with pytest.raises(AdminError, match="GET /admin/v1/rollout: the response is not JSON"):
        await client.status()


async def test_a_status_is_dated_by_the_clock_of_the_run():
    _, client = rollout_client(ok())
    assert (await client.status()).at == 7.5


async def test_a_start_sends_the_canary_the_plan_and_the_token():
    """As JSON."""
    service, client = rollout_client(ok(202))
    await client.start("phase-3", {"steps": [{"weight": 50}]})
    (request,) = service.requests
    assert ("POST", "/admin/v1/rollout") == (request.method, request.url.path)
    assert ("Bearer secret", "application/json") == (
        request.headers["Authorization"],
        request.headers["Content-Type"],
    )
    assert orjson.loads(request.content) == {
        "canary": "phase-3",
        "plan": {"steps": [{"weight": 50}]},
    }


async def test_a_promotion_names_its_generation():
    """So that it cannot approve a later step."""
    service, client = rollout_client(ok())
    await client.promote(3)
    (request,) = service.requests
    assert ("POST", "/admin/v1/rollout/promote", '"3"') == (
        request.method,
        request.url.path,
        request.headers["If-Match"],
    )


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ((401, {"error": "no such token"}), "status 401.*no such token"),
        (httpx.ConnectError("closed"), "POST /admin/v1/rollout/abort: closed"),
        (httpx.ReadTimeout(""), "POST /admin/v1/rollout/abort: ReadTimeout"),
    ],
)
async def test_a_refusal_has_the_status_and_the_message_of_the_service(response, reason):
    _, client = rollout_client(response)
    with pytest.raises(AdminError, match=reason):
        await client.abort()


async def test_watching_continues_after_a_failed_read():
    """The plot has a gap there."""
    _, client = rollout_client(ok(), httpx.ConnectError("closed"), ok(503), ok())
    samples = []
    task = asyncio.create_task(watch_rollout(client, 0.0, samples))
    while len(samples) < 3:
        await asyncio.sleep(0)
    task.cancel()
    await client.close()
    assert [3, 3, 3] == [sample.generation for sample in samples[:3]]
