"""The rollout seen through the admin routes."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.rollout_client import AdminError, RolloutClient, parse_sample, watch_rollout
from tests.support.rollout_status import status


class FakeHttpClient:
    """Notes requests and answers from a list, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    async def request(self, method, path, headers=None, body=b""):
        self.sent.append((method, path, headers, body))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(code=200, **changes):
    return HttpResponse(code, {}, orjson.dumps(status(**changes)))


def admin(*answers):
    client = FakeHttpClient(*answers)
    return client, RolloutClient(client, "secret", now=lambda: 7.5)


def test_a_sample_has_the_weight_the_phase_and_the_guardrails_evidence():
    """With the moment it was taken."""
    sample = parse_sample(status(), 7.5)
    assert (7.5, "Progressing", 25.0, 3) == (
        sample.at,
        sample.phase,
        sample.weight,
        sample.generation,
    )
    assert (1.2, -0.5, 4.605, 1.9) == (sample.fail, sample.good, sample.bound, sample.ratio)


def test_before_the_first_rollout_there_is_no_evidence():
    """Not zero: nobody has looked."""
    quiet = status(phase="Healthy", reason=None, message="", canary=None, step=None, guardrails=[])
    sample = parse_sample(quiet, 0.0)
    assert (None, None, None) == (sample.fail, sample.good, sample.bound)
    assert ("", "") == (sample.reason, sample.canary)


@pytest.mark.parametrize("document", [{}, [], {"guardrails": [1]}, status(weight=None)])
def test_another_document_is_an_error(document):
    """Rather than a sample half right."""
    with pytest.raises(AdminError, match="another form"):
        parse_sample(document, 0.0)


def test_a_start_sends_the_canary_the_plan_and_the_token():
    """As JSON."""
    client, routes = admin(answer(202))
    asyncio.run(routes.start("phase-3", {"steps": [{"weight": 50}]}))
    ((method, path, headers, body),) = client.sent
    assert ("POST", "/admin/v1/rollout") == (method, path)
    assert ("Bearer secret", "application/json") == (
        headers["Authorization"],
        headers["Content-Type"],
    )
    assert orjson.loads(body) == {"canary": "phase-3", "plan": {"steps": [{"weight": 50}]}}


def test_a_promotion_names_the_generation_it_means():
    """So that it cannot promote what came after."""
    client, routes = admin(answer())
    asyncio.run(routes.promote(3))
    method, path, headers, _ = client.sent[0]
    assert ("POST", "/admin/v1/rollout/promote", '"3"') == (method, path, headers["If-Match"])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (HttpResponse(401, {}, b'{"error":"no such token"}'), "status 401.*no such token"),
        (ClientError("closed"), "POST /admin/v1/rollout/abort: closed"),
    ],
)
def test_a_refusal_says_what_the_service_said(reply, reason):
    """Its status and its words."""
    _, routes = admin(reply)
    with pytest.raises(AdminError, match=reason):
        asyncio.run(routes.abort())


def test_watching_goes_on_after_a_status_that_failed():
    """The gap is a sample less."""
    _, routes = admin(answer(), ClientError("closed"), answer(503), answer())
    samples = []

    async def scenario():
        task = asyncio.create_task(watch_rollout(routes, 0.0, samples))
        while len(samples) < 3:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(scenario())
    assert [3, 3, 3] == [sample.generation for sample in samples[:3]]
