"""CPU time by process, of a real server whose engine costs nothing."""

from __future__ import annotations

import sys

import pytest

from loadtest.bench.cpu_cost import CpuBenchmark
from loadtest.streams import Streams
from service.clock import SystemClock
from tests.support.fakes import put_version, unit_vectors


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("workers", "rows", "roles"),
    [(1, 1, {"all"}), (2, 4, {"supervisor", "engine", "workers"})],
)
def test_each_process_has_its_share(tmp_path, workers, rows, roles):
    put_version(tmp_path, "phase-2", window=500)
    streams = Streams(unit_vectors(500))
    benchmark = CpuBenchmark(tmp_path, "phase-2", streams, SystemClock(), 0.3)
    cost = benchmark.measure(workers, 2, rows)
    assert roles == set(cost.micros)
    assert cost.rate > 0
    assert all(0 <= micros < 1e6 for micros in cost.micros.values())
    assert sum(cost.micros.values()) > 0
