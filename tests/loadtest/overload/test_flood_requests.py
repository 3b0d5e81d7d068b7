"""The bytes that a flood sends."""

from __future__ import annotations

import numpy as np

from loadtest import streams
from loadtest.overload.flood_requests import ContextRequests, FloodTarget, SessionRequests

DATA = streams.load(streams.SAMPLE)
TARGET = FloodTarget("host", 1)


def parts(request):
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ") for line in lines[1:])
    assert int(fields["Content-Length"]) == len(body)
    return lines[0], fields, np.frombuffer(body, "<f4")


def test_a_session_is_followed_by_another_after_its_limit():
    source = SessionRequests(DATA, TARGET, number=1, limit=3, run="r")
    paths = []
    for _ in range(6):
        line, fields, vector = parts(source.next())
        assert fields["Host"] == "host:1"
        assert vector.shape == (768,)
        paths.append(line.split()[1])
        source.note(200)
    first, second, third = (f"/v1/sessions/r-1-{i}/vectors" for i in range(3))
    # The first session has a length of its own.
    assert paths == [first, first, second, second, second, third]


def test_a_refused_append_stays_with_its_session_and_a_lost_session_is_replaced():
    source = SessionRequests(DATA, TARGET, number=5, limit=60, run="r")
    names = []
    for status in (429, 429, 410, 200):
        names.append(parts(source.next())[0].split()[1].split("/")[3])
        source.note(status)
    assert names == ["r-5-0", "r-5-0", "r-5-0", "r-5-1"]


def test_contexts_are_whole_and_differ():
    source = ContextRequests(DATA, TARGET, number=0, length=4, run="r")
    (line, fields, one), (_, others, two) = parts(source.next()), parts(source.next())
    assert line == "POST /v1/predict HTTP/1.1"
    assert one.shape == (4 * 768,)
    assert not np.array_equal(one, two)
    assert fields["X-Routing-Key"] != others["X-Routing-Key"]


def test_every_request_carries_the_api_key():
    target = FloodTarget("host", 1, "a-key")
    for source in (
        SessionRequests(DATA, target, number=0, limit=2, run="r"),
        ContextRequests(DATA, target, number=0, length=2, run="r"),
    ):
        assert parts(source.next())[1]["X-API-Key"] == "a-key"
