"""Timings over HTTP."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.bench import http_service
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import unit_vectors

STREAMS = Streams(unit_vectors(200))


@pytest.mark.slow
async def test_the_generator_is_timed_against_the_null_server():
    """The server is a real process; its responses are as long as a prediction."""
    streams = Streams(np.ascontiguousarray(STREAMS.vectors))
    alone, many = await http_service.time_generator(streams, SystemClock(), 0.2)
    assert alone.count > 0
    assert many.count > 0
