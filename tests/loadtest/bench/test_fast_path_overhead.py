"""The overhead of a step from request bytes to response bytes."""

from __future__ import annotations

import pytest

from loadtest.bench import fast_path_overhead
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import DIM, put_version, unit_vectors

STREAMS = Streams(unit_vectors(200))


async def test_steps_are_timed_through_the_whole_service(tmp_path):
    """Every response is checked."""
    put_version(tmp_path, "phase-2", window=500)
    times = await fast_path_overhead.time_steps(tmp_path, "phase-2", STREAMS, 20, SystemClock())
    assert times.count == 18
    assert times.p50 > 0
    wider = Streams(unit_vectors(200, dim=DIM + 1))
    with pytest.raises(RuntimeError, match="400 Bad Request"):
        await fast_path_overhead.time_steps(tmp_path, "phase-2", wider, 20, SystemClock())
