"""The benchmark's measurements, on fakes: what is counted, and that errors are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from loadtest.bench import bare_engine, fast_path_overhead, http_service, service_overhead
from loadtest.bench.reference_step import ReferenceStep
from loadtest.generator import closed_loop
from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import DIM, FakeClock, FakeEngine, manifest_of, put_version, unit_vectors

pytestmark = pytest.mark.anyio

STREAMS = Streams(unit_vectors(200))


@dataclass
class Caller:
    """Answers after `seconds` of its clock; the last of `statuses` is repeated."""

    clock: FakeClock
    seconds: float
    statuses: list[int] = field(default_factory=lambda: [200])

    async def call(self):
        self.clock.advance(self.seconds)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return HttpResponse(status, {}, b"said")


async def test_a_closed_loop_counts_whole_answers_within_its_time():
    """The first tenth is warm-up."""
    clock = FakeClock()
    times = await closed_loop.run([Caller(clock, 0.5)], 10.0, clock)
    assert (20, 0.5, 0.5, 2.0) == (times.count, times.p50, times.p95, times.rate)


async def test_an_answer_that_is_an_error_ends_the_benchmark():
    """With what the server said."""
    clock = FakeClock()
    with pytest.raises(ExceptionGroup) as raised:
        await closed_loop.run([Caller(clock, 0.5, [200, 500])], 10.0, clock)
    assert raised.group_contains(ClientError, match="status 500: said")


async def test_a_loop_without_an_answer_is_no_measurement():
    clock = FakeClock()
    with pytest.raises(ClientError, match="nothing was answered"):
        await closed_loop.run([Caller(clock, 100.0)], 10.0, clock)


def test_bare_steps_carry_the_state_and_leave_the_warm_up_out():
    engine = FakeEngine()
    times = bare_engine.time_steps(engine, STREAMS, 3, 20, SystemClock())
    assert times.count == 20
    assert {(1, 1, 1)} == {tuple(batch) for batch in engine.batches}
    assert bare_engine.time_steps(engine, STREAMS, 1, 2, SystemClock(), pause=1e-6).count == 2
    assert bare_engine.time_context(engine, STREAMS, 0, 7, SystemClock()) > 0
    assert [7] == engine.batches[-1]


def test_b_is_measured_just_before_and_just_after_what_it_divides():
    """A machine that slows down meanwhile slows B as well; what came before does not count."""
    clock = FakeClock()
    engine = _Slowing(clock)
    reference = ReferenceStep(engine, STREAMS, clock)
    engine.seconds = 0.003

    def measure():
        engine.seconds = 0.005
        return "measured"

    found, b = reference.measure_beside(measure)
    assert "measured" == found
    assert b == pytest.approx((0.003 + 0.005) / 2)
    assert reference.history == pytest.approx([0.002, 0.003, 0.005])


class _Slowing(FakeEngine):
    """Each run takes `seconds` of the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds = 0.002

    def run(self, vectors, lengths, state):
        self._clock.advance(self.seconds)
        return super().run(vectors, lengths, state)


async def test_overhead_is_measured_on_the_services_own_path():
    """Every append counts; none is refused."""
    times = await service_overhead.time_appends(
        manifest_of("phase-2", 8, ""), STREAMS, 100, SystemClock()
    )
    assert times.count == 90
    assert times.p50 > 0


async def test_the_lane_is_measured_with_the_service_behind_it(tmp_path):
    """Every answer is looked at."""
    put_version(tmp_path, "phase-2", window=500)
    times = await fast_path_overhead.time_steps(tmp_path, "phase-2", STREAMS, 20, SystemClock())
    assert times.count == 18
    assert times.p50 > 0
    wider = Streams(unit_vectors(200, dim=DIM + 1))
    with pytest.raises(RuntimeError, match="400 Bad Request"):
        await fast_path_overhead.time_steps(tmp_path, "phase-2", wider, 20, SystemClock())


def test_a_scrape_is_measured():
    times = service_overhead.time_scrapes(3, SystemClock())
    assert times.count == 3
    assert times.p50 > 0


async def test_a_longer_session_holds_more():
    manifest = manifest_of("phase-2", 8, "")
    short = await service_overhead.measure_session_bytes(manifest, STREAMS, 2, SystemClock())
    long = await service_overhead.measure_session_bytes(manifest, STREAMS, 100, SystemClock())
    assert long - short > 90 * 4 * DIM


async def test_the_generator_is_measured_against_a_server_that_does_nothing():
    """A real process; it answers as many bytes as a prediction has."""
    streams = Streams(np.ascontiguousarray(STREAMS.vectors))
    alone, many = await http_service.time_generator(streams, SystemClock(), 0.2)
    assert alone.count > 0
    assert many.count > 0
