"""The overhead and memory of the service's own objects."""

from __future__ import annotations

import pytest

from loadtest.bench import service_overhead
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import DIM, manifest_of, unit_vectors

STREAMS = Streams(unit_vectors(200))


async def test_appends_are_timed_through_the_services_dispatch():
    """A tenth of them is warm-up."""
    times = await service_overhead.time_appends(
        manifest_of("phase-2", 8, ""), STREAMS, 100, SystemClock()
    )
    assert times.count == 90
    assert times.p50 > 0


def test_scrapes_are_timed():
    times = service_overhead.time_scrapes(3, SystemClock())
    assert times.count == 3
    assert times.p50 > 0


@pytest.mark.slow
async def test_a_longer_session_uses_more_memory():
    manifest = manifest_of("phase-2", 8, "")
    short = await service_overhead.measure_session_bytes(manifest, STREAMS, 2, SystemClock())
    long = await service_overhead.measure_session_bytes(manifest, STREAMS, 100, SystemClock())
    assert long - short > 90 * 4 * DIM
