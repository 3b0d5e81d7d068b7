"""What callers send, and how a session continues after a failure."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from loadtest.generator.callers import SessionCaller, make_session_callers, make_stateless_callers
from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.streams import Streams

STREAMS = Streams(np.arange(100, dtype="<f4")[:, None])
OK = HttpResponse(200, {}, b"")


class FakeHttpClient:
    """Records (method, path, headers, values) and responds from a list, then with 200."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    async def request(self, method, path, headers=None, body=b""):
        values = np.frombuffer(body, "<f4").astype(int).tolist()
        self.sent.append((method, path, headers or {}, values))
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        return answer


async def call_repeatedly(caller, times):
    return [await caller.call() for _ in range(times)]


def session(client, limit=60):
    return SessionCaller(client, STREAMS, number=0, limit=limit, run="r", remaining=limit)


async def test_a_stateless_caller_sends_its_context_shifted_by_one_vector():
    """As raw float32, to the prediction route."""
    client = FakeHttpClient()
    await call_repeatedly(make_stateless_callers(client, STREAMS, 1, context=3, run="r")[0], 2)
    assert [[0, 1, 2], [1, 2, 3]] == [values for *_, values in client.sent]
    method, path, headers, _ = client.sent[0]
    assert ("POST", "/v1/predict") == (method, path)
    assert headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("key", "expected"),
    [("request", ["r-1-0", "r-1-1"]), ("caller", ["r-1", "r-1"])],
)
async def test_the_routing_key_changes_per_request_or_per_caller(key, expected):
    """Per request by default, so that busy callers do not dominate."""
    client = FakeHttpClient()
    await call_repeatedly(
        make_stateless_callers(client, STREAMS, 2, context=1, run="r", key=key)[1], 2
    )
    assert expected == [headers["X-Routing-Key"] for _, _, headers, _ in client.sent]


async def test_a_session_grows_by_one_vector_and_restarts_at_its_limit():
    """The next session continues the stream."""
    client = FakeHttpClient()
    await call_repeatedly(session(client, limit=2), 5)
    assert [
        ("/v1/sessions/r-0-0/vectors?position=0", [0]),
        ("/v1/sessions/r-0-0/vectors?position=1", [1]),
        ("/v1/sessions/r-0-1/vectors?position=0", [2]),
        ("/v1/sessions/r-0-1/vectors?position=1", [3]),
        ("/v1/sessions/r-0-2/vectors?position=0", [4]),
    ] == [(path, values) for _, path, _, values in client.sent]


def test_first_sessions_end_at_different_lengths():
    """Otherwise all of them would restart at the same moment."""
    callers = make_session_callers(FakeHttpClient(), STREAMS, count=4, limit=60, run="r")
    assert [1, 16, 31, 46] == [caller.remaining for caller in callers]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_is_gone_is_sent_again_as_a_whole(status):
    """From position 0 with the same id; it then continues."""
    client = FakeHttpClient(OK, OK, HttpResponse(status, {}, b""))
    responses = await call_repeatedly(session(client), 4)
    assert [
        ("/v1/sessions/r-0-0/vectors?position=2", [2]),
        ("/v1/sessions/r-0-0/vectors?position=0", [0, 1, 2]),
        ("/v1/sessions/r-0-0/vectors?position=3", [3]),
    ] == [(path, values) for _, path, _, values in client.sent[2:]]
    assert [200, 200, 200, 200] == [response.status for response in responses]


async def test_after_a_conflict_it_continues_at_the_true_position():
    """The response has that position."""
    client = FakeHttpClient(OK, HttpResponse(409, {}, orjson.dumps({"position": 5})))
    await call_repeatedly(session(client), 3)
    assert [1, 5, 6] == [values[0] for *_, values in client.sent[1:]]


async def test_a_conflict_without_a_position_is_an_error():
    """A guess would corrupt the session."""
    with pytest.raises(ClientError, match="409 without a position"):
        await call_repeatedly(session(FakeHttpClient(HttpResponse(409, {}, b"{}"))), 1)


@pytest.mark.parametrize("lost", [ClientError("closed"), HttpResponse(503, {}, b"")])
async def test_after_a_lost_response_the_same_vector_is_sent_at_the_same_position(lost):
    """The service processes a retry once."""
    client = FakeHttpClient(OK, lost)
    caller = session(client)
    await caller.call()
    if isinstance(lost, Exception):
        with pytest.raises(ClientError):
            await caller.call()
    else:
        await caller.call()
    await caller.call()
    assert client.sent[1] == client.sent[2]
    assert client.sent[1][3] == [1]
