"""Answers that are not 2xx become errors of one class for each kind."""

from __future__ import annotations

import json

import pytest

from nextvec import errors


def body(code, **details):
    return json.dumps({"error": "what to do", "code": code, "request_id": "r1", **details}).encode()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed", errors.MalformedRequestError),
        (401, "unauthorized", errors.AuthenticationError),
        (403, "forbidden", errors.PermissionDeniedError),
        (404, "session_not_found", errors.NotFoundError),
        (404, "no_canary", errors.NotFoundError),
        (405, "method_not_allowed", errors.StatusError),
        (409, "conflict", errors.ConflictError),
        (409, "position_mismatch", errors.PositionConflictError),
        (409, "gate_missed", errors.GateRefusalError),
        (410, "session_gone", errors.GoneError),
        (412, "precondition_failed", errors.StaleGenerationError),
        (413, "too_large", errors.RequestTooLargeError),
        (422, "unknown_parameter", errors.InvalidRequestError),
        (429, "queue_full", errors.OverloadError),
        (429, "caller_limited", errors.CallerLimitError),
        (500, "engine_fault", errors.ServiceError),
        (502, "internal", errors.UnavailableError),
        (503, "not_ready", errors.UnavailableError),
        (504, "deadline_exceeded", errors.ServiceDeadlineError),
        (507, "internal", errors.ServiceError),
    ],
)
def test_every_kind_of_answer_has_a_class(status, code, kind):
    error = errors.of_answer(status, {"retry-after": "3"}, body(code))
    assert kind is type(error)
    assert (status, code, "r1", "what to do", 3.0) == (
        error.status,
        error.code,
        error.request_id,
        error.text,
        error.retry_after,
    )
    assert f"what to do (HTTP {status} {code}, request r1)" == str(error)
    assert isinstance(error, errors.Error)


def test_the_details_of_a_conflict_have_names():
    position = errors.of_answer(409, {}, body("position_mismatch", position=7))
    verb = errors.of_answer(409, {}, body("conflict", legal=["abort"], phase="Paused"))
    gate = errors.of_answer(409, {}, body("gate_missed", missed=[{"criterion": "hits"}]))
    assert (7, ("abort",), ({"criterion": "hits"},)) == (position.position, verb.legal, gate.missed)


def test_what_a_gateway_answers_is_shown_as_an_excerpt():
    error = errors.of_answer(502, {"x-request-id": "r2"}, b"<html>" + b"x" * 1000)
    assert ("http_502", errors.UnavailableError) == (error.code, type(error))
    assert len(str(error)) < 300


def test_a_redirect_is_an_error_that_says_where_it_leads():
    error = errors.of_answer(307, {"location": "https://elsewhere/"}, b"")
    assert "https://elsewhere/" in str(error)
    assert "not followed" in str(error)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"error": 1}', b"[" * 100_000])
def test_any_bytes_make_an_error(content):
    assert "http_500" == errors.of_answer(500, {}, content).code


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, None),
        (
            {
                "retry-after": "Fri, 27 Nov 2026 10:00:30 GMT",
                "date": "Fri, 27 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Fri, 27 Nov 2026 10:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert seconds == errors.seconds_to_wait(headers)


def test_a_row_of_a_frame_has_the_class_of_its_status():
    assert 4 == errors.of_row("a", 409, 4).position
    assert errors.GoneError is type(errors.of_row("a", 410, -1))
    assert errors.OverloadError is type(errors.of_row("a", 429, -1))
