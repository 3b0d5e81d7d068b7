"""When a request is repeated, and after what wait."""

from __future__ import annotations

import json

import pytest

from nextvec.errors import (
    OverloadError,
    RequestTimeoutError,
    ServiceError,
    StatusError,
    TransportError,
)
from nextvec.exchange import Budget, Call, Failure, Pause, Reply, RetryPolicy, exchange

CALL = Call("POST", "/v1/predict")
LOST = Failure(TransportError("lost"))


def refusal(status, **headers):
    content = json.dumps({"error": "no", "code": "queue_full", "request_id": "r"}).encode()
    return Reply(status, headers, content)


def play(outcomes, *, deadline=60.0, policy=None, duration=0.0):
    """Run an exchange; return its result or error, the waits, and the budget."""
    now, waits, timeouts = [0.0], [], []
    budget = Budget(policy or RetryPolicy(), 30.0, deadline, lambda: now[0], lambda: 0.0)
    operation, outcome, outcomes = exchange(CALL, budget), None, iter(outcomes)
    try:
        while True:
            wanted = operation.send(outcome)
            if isinstance(wanted, Pause):
                waits.append(wanted.seconds)
                now[0] += wanted.seconds
                outcome = None
            else:
                timeouts.append(wanted.timeout)
                now[0] += duration
                outcome = next(outcomes)
    except StopIteration as end:
        return end.value, waits, timeouts, budget
    except (StatusError, TransportError) as error:
        return error, waits, timeouts, budget


def test_the_waits_double_up_to_the_longest():
    ok = Reply(200, {}, b"")
    result, waits, _, _ = play([LOST] * 8 + [ok])
    assert ok is result
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] == waits


def test_the_last_error_is_raised_with_the_number_of_attempts():
    error, waits, _, budget = play([LOST, refusal(429)] + [refusal(503)] * 20)
    assert ServiceError in type(error).__mro__
    assert ["POST /v1/predict: gave up after 9 attempts"] == error.__notes__
    assert 8 == len(waits)
    assert 1 == budget.lost  # only the first request may have been carried out


@pytest.mark.parametrize(
    ("asked", "waits"),
    [("2", [2.0]), ("0", [0.1]), ("30", [30.0]), ("31", []), ("nonsense", [0.1])],
)
def test_retry_after_is_honoured_up_to_a_bound(asked, waits):
    result, waited, _, _ = play([refusal(429, **{"retry-after": asked}), Reply(200, {}, b"")])
    assert waits == waited
    assert (OverloadError if not waits else Reply) is type(result)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 413, 422])
def test_a_refusal_that_will_not_pass_is_not_repeated(status):
    error, waits, timeouts, budget = play([refusal(status)])
    assert (status, [], 1, 0) == (error.status, waits, len(timeouts), budget.lost)


def test_a_permanent_failure_is_not_repeated():
    _, waits, _, budget = play([Failure(TransportError("bad certificate"), permanent=True)])
    assert ([], 1) == (waits, budget.lost)


def test_no_attempt_outlasts_the_deadline():
    error, _, timeouts, _ = play([LOST] * 20, deadline=50.0, duration=20.0)
    assert TransportError is type(error)
    assert [30.0, 29.9, 9.7] == [round(seconds, 3) for seconds in timeouts]


def test_a_wait_past_the_deadline_is_not_begun():
    error, waits, _, _ = play([refusal(429, **{"retry-after": "9"})], deadline=5.0)
    assert (OverloadError, []) == (type(error), waits)


def test_nothing_is_sent_after_the_deadline():
    error, _, timeouts, _ = play([LOST], deadline=0.0)
    assert (RequestTimeoutError, []) == (type(error), timeouts)


def test_waits_are_shortened_at_random_by_up_to_a_half():
    assert 0.05 == RetryPolicy().delay(0, LOST, 10.0, 1.0)
