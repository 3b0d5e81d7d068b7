"""The rows of the benchmark, and its warning about a busy machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import pytest

from loadtest.bench import suite
from loadtest.bench.reference_step import ReferenceStep
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import FakeEngine, unit_vectors

STREAMS = Streams(unit_vectors(400))


@dataclass
class FakeReference:
    """A reference step with these values of B."""

    history: list[float]


@pytest.mark.parametrize(("history", "busy"), [([0.0030, 0.0032], False), ([0.003, 0.004], True)])
def test_a_busy_machine_is_noted(history, busy):
    found = suite.notes(FakeReference(history))
    assert busy is any("B ranged from 3 to 4 ms" in note for note in found)
    assert len(found) == 3 + busy


def test_the_first_rows_compare_the_engines_with_the_reference_step(monkeypatch, tmp_path):
    """Each ratio has the B around its measurement."""
    monkeypatch.setattr(suite, "open_engine", lambda *_, **__: FakeEngine())
    files = type("Files", (), {"graph": tmp_path / "model.onnx"})
    engine = FakeEngine()
    benchmark = suite.BenchmarkSuite(
        files, engine, tmp_path, tmp_path, STREAMS, SystemClock(), seconds=0.1, threads=1
    )
    rows = list(islice(benchmark.rows(ReferenceStep(engine, STREAMS, SystemClock())), 4))
    assert [
        "bare step, direct export (B)",
        "bare step, direct export, batch of 8",
        "bare step, direct export, batch of 32",
        "bare step, 8 bits, batch of 1",
    ] == [row.what for row in rows]
    for row in rows[1:]:
        assert row.value == pytest.approx(row.times.p50 / row.b)
