"""Timings of the engine alone."""

from __future__ import annotations

from loadtest.bench import bare_engine
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import FakeEngine, unit_vectors

STREAMS = Streams(unit_vectors(200))


def test_steps_carry_the_state_and_exclude_the_warm_up():
    engine = FakeEngine()
    times = bare_engine.time_steps(engine, STREAMS, 3, 20, SystemClock())
    assert times.count == 20
    assert {(1, 1, 1)} == {tuple(batch) for batch in engine.batches}
    assert bare_engine.time_steps(engine, STREAMS, 1, 2, SystemClock(), pause=1e-6).count == 2
    assert bare_engine.time_context(engine, STREAMS, 0, 7, SystemClock()) > 0
    assert [7] == engine.batches[-1]
