"""What the demo shows: lines, bars, the table, the picture; from a literal performance."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.demo.picture import draw_demo
from loadtest.demo.run import ActRun
from loadtest.demo.scenario import ACTS
from loadtest.demo.view import act_results, live_panel, phase_row, progress_bar, results_table
from loadtest.report.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from tests.support.rollout_status import status


class FakeDriver:
    """Thirty seconds of traffic: Phase-3 twice as slow as Phase-2."""

    def __init__(self, records=None):
        self.records = records
        if records is None:
            stable = [RequestLog(i / 4, 0, 0.1, 200, "stable", "phase-2") for i in range(120)]
            canary = [RequestLog(i / 4, 0, 0.2, 200, "canary", "phase-3") for i in range(40, 80)]
            self.records = stable + canary

    def now(self):
        return 30.0


def performance(act=ACTS[0], **changes):
    failed = status()["guardrails"][0] | {"outcome": "fail", "message": "fail: ln E = 5.1"}
    rolled_back = status(
        phase="RolledBack", weight={"set_percent": 0.0}, guardrails=[failed], generation=4
    )
    samples = [parse_sample(status(weight={"set_percent": 0.0}, guardrails=[]), 0.0)]
    samples += [parse_sample(status(), float(at)) for at in range(10, 20)]
    samples += [parse_sample(rolled_back, float(at)) for at in range(20, 31)]
    values = {"samples": samples, "rate": 4.0, "started": 8.0, "ended": 20.0} | changes
    return ActRun(act, FakeDriver(), **values)


def text(shown):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "░░░░"), (2.5, "██░░"), (5, "████"), (-3, "░░░░"), (9, "████")]
)
def test_a_bar_fills_with_its_value_and_stays_in_its_width(value, expected):
    """Evidence may be negative, and may overshoot the bound."""
    assert expected == progress_bar(value, 5, width=4)


def test_a_change_of_phase_is_told_with_its_reason():
    """The service's own words."""
    shown = text(phase_row(parse_sample(status(), 12.5)))
    for part in ("12.5 s", "Progressing", "phase-3  25 %", "warm after 5 s"):
        assert part in shown


def test_the_panel_shows_load_share_and_evidence():
    """Evidence against its bound once there is some."""
    playing = performance()
    playing.samples = playing.samples[:5]
    shown = text(live_panel(playing))
    for part in ("4.0 requests/s", "160 answers", "25 %", "ln E  1.20 of 4.61", "-0.50 of 4.61"):
        assert part in shown
    playing.samples = playing.samples[:1]
    assert "ln E" not in text(live_panel(playing))


def test_the_final_table_has_the_ratio_the_end_and_the_verdicts_arithmetic():
    """P95s of the requests that were due while the rollout went on."""
    shown = text(results_table([performance(), performance(ACTS[1], problems=["hung"])]))
    for part in ("100.0 ms", "200.0 ms", "2.00", "rolled back", "12 s", "fail: ln E = 5.1"):
        assert part in shown
    assert "not as it must" in shown


def test_an_act_without_a_rollout_is_shown_all_the_same():
    """The demo that failed early is the one to look at."""
    empty = ActRun(ACTS[0], FakeDriver([]))
    assert "none" in text(results_table([empty]))
    assert {} == act_results([empty])[0]["p95_seconds"]


def test_the_figures_hold_what_the_table_shows():
    """And the looks they come from."""
    (act,) = act_results([performance()])
    assert (4.0, 8.0, 20.0, 160) == (
        act["requests_per_second"],
        act["started"],
        act["ended"],
        act["requests"],
    )
    assert "fail: ln E = 5.1" == act["samples"][-1]["verdict"]


@pytest.mark.parametrize(
    "performances",
    [
        [performance(), performance(ACTS[1])],
        [performance(problems=["hung"])],
        [ActRun(ACTS[0], FakeDriver([]))],
    ],
)
def test_the_picture_is_drawn_however_the_acts_ended(tmp_path, performances):
    """Also with nothing to show."""
    draw_demo(performances, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
