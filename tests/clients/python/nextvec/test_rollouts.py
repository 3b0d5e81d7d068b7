"""The rollout's calls, against scripted answers."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from nextvec.blocking import BlockingRunner
from nextvec.client import Client
from nextvec.errors import (
    AuthenticationError,
    GateRefusalError,
    IllegalVerbError,
    ResponseError,
    StaleGenerationError,
    WaitTimeoutError,
)
from tests.support.client_service import FakeTime
from tests.support.rollout_status import status

ROW = {
    "at": 1.0,
    "generation": 4,
    "actor": "controller",
    "reason": "guardrail_failed",
    "note": "",
    "from": "Progressing",
    "to": "Aborting",
    "step": 0,
    "weight_percent": 0.0,
    "stable": "phase-2",
    "canary": "phase-3",
    "message": "latency fail",
}


class ScriptedService:
    """Answers with `answers`, one after the other, the last one for ever; keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.clock = FakeTime()
        http = httpx.Client(transport=httpx.MockTransport(self.handle))
        client = Client("http://s/base", token="t", max_retries=2, http_client=http)
        timed = replace(client._run.options, now=self.clock.now, draw=lambda: 0.0)
        client._run = BlockingRunner(timed, http, self.clock.sleep)
        self.rollout = client.rollout

    def handle(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        code, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(code, json=body)


def refusal(status, code, **details):
    return status, {"error": "no", "code": code, "request_id": "r", **details}


def test_a_start_names_the_canary_and_is_safe_to_repeat():
    service = ScriptedService(httpx.ReadError("reset"), (202, status(phase="Pending")))
    found = service.rollout.start("phase-3", plan={"alpha": 0.1}, reason="longer context")
    first, second = service.requests
    assert {"canary": "phase-3", "reason": "longer context", "plan": {"alpha": 0.1}} == json.loads(
        second.content
    )
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert ("/base/admin/v1/rollout", "Pending") == (second.url.path, found.phase)
    assert "if-match" not in second.headers


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "retry", "undo"])
def test_a_change_is_based_on_the_status_of_the_moment_or_on_one_that_was_seen(verb):
    service = ScriptedService(status(generation=7))
    getattr(service.rollout, verb)(reason="why")
    getattr(service.rollout, verb)(generation=5, dry_run=True)
    paths = [(r.method, r.url.path.rpartition("/")[2]) for r in service.requests]
    assert [("GET", "rollout"), ("POST", verb), ("POST", verb)] == paths
    assert ['"7"', '"5"'] == [r.headers["if-match"] for r in service.requests[1:]]
    assert "All" == service.requests[2].url.params["dryRun"]
    assert {"reason": "why"} == json.loads(service.requests[1].content)


def test_an_abort_waits_for_nothing():
    service = ScriptedService(status(phase="RolledBack"))
    assert service.rollout.abort(reason="enough").is_rolled_back
    (request,) = service.requests
    assert "if-match" not in request.headers


def test_a_promotion_by_force_says_so():
    service = ScriptedService(status())
    service.rollout.promote(force=True, generation=3)
    assert "true" == service.requests[0].url.params["force"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(412, "precondition_failed"), StaleGenerationError),
        (refusal(409, "conflict", legal=["start"], phase="Healthy"), IllegalVerbError),
        (refusal(409, "gate_missed", missed=[]), GateRefusalError),
        (refusal(401, "unauthorized"), AuthenticationError),
        ((200, []), ResponseError),
    ],
)
def test_a_refusal_has_its_class(answer, kind):
    with pytest.raises(kind):
        ScriptedService(answer).rollout.promote(generation=1)


def test_the_history_is_typed():
    (entry,) = ScriptedService((200, [ROW])).rollout.history(5)
    assert ("guardrail_failed", "Progressing", "Aborting", 1.0) == (
        entry.reason,
        entry.source,
        entry.target,
        entry.at.timestamp(),
    )


@pytest.mark.parametrize("body", [{}, [1], [{"at": 1}]])
def test_another_history_is_refused(body):
    with pytest.raises(ResponseError):
        ScriptedService((200, body)).rollout.history()


def test_a_wait_ends_with_the_rollout_and_outlives_a_restart():
    service = ScriptedService(
        status(generation=1),
        status(generation=1),
        *[httpx.ConnectError("refused")] * 4,
        refusal(503, "not_ready"),
        status(generation=2),
        status(generation=3, phase="RolledBack"),
    )
    seen = []
    found = service.rollout.wait(60, on_change=lambda each: seen.append(each.generation))
    assert found.is_rolled_back
    assert [1, 2, 3] == seen


def test_a_wait_ends_when_a_person_is_needed():
    paused = ScriptedService(status(), status(phase="Paused", reason="approval"))
    assert paused.rollout.wait(60).needs_approval


def test_a_wait_that_takes_too_long_has_the_last_status():
    service = ScriptedService(status(headline="too early"))
    with pytest.raises(WaitTimeoutError, match="too early") as raised:
        service.rollout.wait(5, poll=2)
    assert "Progressing" == raised.value.status.phase
    assert [2, 2, 1] == service.clock.waits


def test_a_wait_without_the_right_token_ends_at_once():
    with pytest.raises(AuthenticationError):
        ScriptedService(refusal(401, "unauthorized")).rollout.wait(60)


def test_a_path_is_no_plan():
    with pytest.raises(TypeError, match="plan is str: give its fields as a dictionary"):
        ScriptedService().rollout.start("phase-3", plan="plan.yaml")
