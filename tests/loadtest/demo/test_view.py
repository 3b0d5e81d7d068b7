"""What the demo shows: lines, bars, the table, the picture; from a literal performance."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.demo.run import ActRun
from loadtest.demo.scenario import ACTS
from loadtest.demo.view import act_results, live_panel, phase_row, progress_bar, results_table
from loadtest.rollout_client import parse_sample
from tests.support.act_runs import FakeDriver, act_run
from tests.support.rollout_status import status


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
    run = act_run()
    run.samples = run.samples[:5]
    shown = text(live_panel(run))
    for part in ("4.0 requests/s", "160 responses", "25 %", "ln E  1.20 of 4.61", "-0.50 of 4.61"):
        assert part in shown
    run.samples = run.samples[:1]
    assert "ln E" not in text(live_panel(run))


def test_the_final_table_has_the_ratio_the_end_and_the_verdicts_arithmetic():
    """P95s of the requests that were due while the rollout went on."""
    shown = text(results_table([act_run(), act_run(ACTS[1], problems=["hung"])]))
    for part in ("100.0 ms", "200.0 ms", "2.00", "rolled back", "12 s", "fail: ln E = 5.1"):
        assert part in shown
    assert "unexpected" in shown


def test_an_act_without_a_rollout_is_shown_all_the_same():
    """The demo that failed early is the one to look at."""
    empty = ActRun(ACTS[0], FakeDriver([]))
    assert "none" in text(results_table([empty]))
    assert {} == act_results([empty])[0]["p95_seconds"]


def test_the_figures_hold_what_the_table_shows():
    """And the looks they come from."""
    (act,) = act_results([act_run()])
    assert (4.0, 8.0, 20.0, 160) == (
        act["requests_per_second"],
        act["started"],
        act["ended"],
        act["requests"],
    )
    assert "fail: ln E = 5.1" == act["samples"][-1]["verdict"]
