"""The step's duration in the manifest, by a clock that is set by hand."""

from __future__ import annotations

from model_export import step_latency
from tests.support.fakes import FakeEngine


def test_percentiles_are_of_the_steps_after_the_warm_up():
    """Steps of 1, 2 … 100 ms after a slow warm-up: the median is 50.5, P95 95.05."""
    durations = iter([9.0] * step_latency.WARM_UP_STEPS + [n / 1000 for n in range(1, 101)])
    readings = []

    def now():
        # Read twice a step: at its begin, and a duration later at its end.
        readings.append(0.0 if len(readings) % 2 == 0 else next(durations))
        return readings[-1]

    engine = FakeEngine()
    measured = step_latency.measure(engine, "int8", steps=100, now=now)
    assert (100, "int8", "CPUExecutionProvider") == (
        measured.steps,
        measured.precision,
        measured.provider,
    )
    assert (50.5, 95.05) == (round(measured.p50_ms, 6), round(measured.p95_ms, 6))
    assert [[1]] * 150 == engine.batches
    assert "cores" in measured.machine
