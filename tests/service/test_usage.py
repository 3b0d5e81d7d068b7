"""Totals of each version."""

from __future__ import annotations

from service.usage import DurationTotal, UsageTotals


def test_totals_are_kept_by_version():
    totals = UsageTotals()
    totals.add_request("a", 2.0, succeeded=True)
    totals.add_request("a", 3.0, succeeded=False)
    totals.add_request("b", 4.0, succeeded=True)
    totals.add_prediction("a", 0.5, 1.5)
    totals.add_prediction("a", 0.5, 2.5)
    totals.add_run("a")
    usage = totals.read("a")
    assert usage.succeeded == DurationTotal(1, 2.0)
    assert usage.failed == DurationTotal(1, 3.0)
    assert usage.queue == DurationTotal(2, 1.0)
    assert usage.inference == DurationTotal(2, 4.0)
    assert usage.runs == 1


def test_an_unknown_version_has_done_nothing_and_leaves_no_trace():
    totals = UsageTotals()
    assert totals.read("x").succeeded == DurationTotal(0, 0.0)
    assert not totals._versions
