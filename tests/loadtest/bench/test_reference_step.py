"""The reference step is measured next to each figure."""

from __future__ import annotations

import pytest

from loadtest.bench.reference_step import ReferenceStep
from loadtest.streams import Streams
from tests.support.fakes import FakeClock, FakeEngine, unit_vectors

STREAMS = Streams(unit_vectors(200))


class SlowingEngine(FakeEngine):
    """An engine whose runs take `seconds` of the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds = 0.002

    def run(self, vectors, lengths, state):
        self._clock.advance(self.seconds)
        return super().run(vectors, lengths, state)


def test_b_is_measured_just_before_and_just_after_a_figure():
    """If the machine slows down, B follows. Earlier values of B do not count."""
    clock = FakeClock()
    engine = SlowingEngine(clock)
    reference = ReferenceStep(engine, STREAMS, clock)
    engine.seconds = 0.003

    def measure():
        engine.seconds = 0.005
        return "measured"

    found, b = reference.measure_with_reference(measure)
    assert "measured" == found
    assert b == pytest.approx((0.003 + 0.005) / 2)
    assert reference.history == pytest.approx([0.002, 0.003, 0.005])
