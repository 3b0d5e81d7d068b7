"""The frames are those that `/v1/steps` reads."""

from __future__ import annotations

import numpy as np

from loadtest.generator.http_client import HttpResponse
from loadtest.generator.step_frames import StepFrameCaller
from loadtest.streams import Streams
from service.api.codecs.steps import parse_frame
from tests.support.fakes import DIM, unit_vectors


class FrameSink:
    """A client that keeps the bodies."""

    def __init__(self):
        self.bodies = []

    async def request(self, _method, path, _headers, body):
        assert path == "/v1/steps"
        self.bodies.append(body)
        return HttpResponse(200, {}, b"")


async def test_positions_count_up_and_sessions_begin_again():
    sink = FrameSink()
    caller = StepFrameCaller(sink, Streams(unit_vectors(300)), 0, 3, "run")
    for _ in range(401):
        await caller.call()
    first, second, last = (parse_frame(sink.bodies[i], DIM, 10) for i in (0, 1, 400))
    assert [0, 0, 0] == [row.position for row in first]
    assert [1, 1, 1] == [row.position for row in second]
    assert [row.session for row in first] == [row.session for row in second]
    assert len({row.session for row in first}) == 3
    assert [0, 0, 0] == [row.position for row in last]
    assert {row.session for row in first}.isdisjoint(row.session for row in last)
    assert not np.array_equal(first[0].vectors, second[0].vectors)
