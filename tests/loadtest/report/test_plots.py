"""The plots of a run are drawn whatever it contains."""

from __future__ import annotations

import pytest

from loadtest.generator.request_log import RequestLog
from loadtest.report import plots
from loadtest.rollout_client import parse_sample
from tests.support.rollout_status import status

pytestmark = pytest.mark.slow


def requests():
    """Twenty requests each over two seconds: stable 1..20 ms, canary twice that."""
    stable = [
        RequestLog(i / 10, 0.0, (i + 1) / 1000, 200, "stable", "phase-2", total=0.001)
        for i in range(20)
    ]
    canary = [
        RequestLog(i / 10, 0.02, (i + 1) / 500, 200, "canary", "phase-3", total=0.002)
        for i in range(20)
    ]
    return stable + canary


@pytest.mark.parametrize("sent", [requests(), requests()[:20], []])
@pytest.mark.parametrize("samples", [[], [parse_sample(status(), float(at)) for at in range(3)]])
def test_a_plot_is_drawn_for_two_variants_one_and_none(tmp_path, sent, samples):
    """With and without samples of the rollout."""
    path = tmp_path / "pictures" / "latency.png"
    plots.draw_run(sent, samples, "a run", path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
