"""The terminal output of the demo, from literal samples."""

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
def test_a_bar_shows_its_value_within_its_width(value, expected):
    """Evidence can be negative, and can exceed the bound."""
    assert expected == progress_bar(value, 5, width=4)


def test_a_change_of_phase_shows_the_services_message():
    shown = text(phase_row(parse_sample(status(), 12.5)))
    for part in ("12.5 s", "Progressing", "phase-3  25 %", "warm after 5 s"):
        assert part in shown


def test_the_panel_shows_load_share_and_evidence():
    """Evidence is shown as soon as there is some."""
    run = act_run()
    run.samples = run.samples[:5]
    shown = text(live_panel(run))
    for part in ("4.0 requests/s", "160 responses", "25 %", "ln E  1.20 of 4.61", "-0.50 of 4.61"):
        assert part in shown
    run.samples = run.samples[:1]
    assert "ln E" not in text(live_panel(run))


def test_the_table_has_the_ratio_the_result_and_the_verdict():
    """P95 of the requests that were due during the rollout."""
    shown = text(results_table([act_run(), act_run(ACTS[1], problems=["hung"])]))
    for part in ("100.0 ms", "200.0 ms", "2.00", "rolled back", "12 s", "fail: ln E = 5.1"):
        assert part in shown
    assert "unexpected" in shown


def test_an_act_without_a_rollout_has_a_row():
    """A demo that failed early has results too."""
    empty = ActRun(ACTS[0], FakeDriver([]))
    assert "none" in text(results_table([empty]))
    assert {} == act_results([empty])[0]["p95_seconds"]


def test_the_json_results_have_the_figures_of_the_table():
    """And the samples behind them."""
    (act,) = act_results([act_run()])
    assert (4.0, 8.0, 20.0, 160) == (
        act["requests_per_second"],
        act["started"],
        act["ended"],
        act["requests"],
    )
    assert "fail: ln E = 5.1" == act["samples"][-1]["verdict"]
