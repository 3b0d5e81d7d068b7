"""Figures drawn from records, against literals."""

from __future__ import annotations

import math

import pytest

from loadtest.report.request_log import (
    RequestLog,
    by_version,
    p95_over_time,
    percentile,
    server_timing,
    window_p95,
)


def record(intended, latency, variant="stable", status=200, version="phase-2"):
    return RequestLog(intended, 0.0, latency, status, variant, version)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], 50, 3.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 95, 4.8),
        ([5.0, 1.0], 25, 2.0),
        ([7.0], 99, 7.0),
    ],
)
def test_a_percentile_is_interpolated_linearly(values, q, expected):
    """As numpy and spreadsheets do."""
    assert expected == pytest.approx(percentile(values, q))


def test_the_percentile_of_nothing_is_not_a_number():
    """And not zero, which would look very fast."""
    assert math.isnan(percentile([], 95))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("queue;dur=1.5, inference;dur=20, total;dur=22.25", (0.0015, 0.02, 0.02225)),
        ('total;desc="all";dur=3', (None, None, 0.003)),
        ("queue;dur=fast, total", (None, None, None)),
        ("", (None, None, None)),
    ],
)
def test_server_timing_is_read_in_seconds_and_oddities_are_left_out(header, expected):
    """The header's unit is the millisecond."""
    found = server_timing(header)
    assert expected == tuple(found.get(name) for name in ("queue", "inference", "total"))


def test_a_window_holds_the_good_answers_that_came_in_it():
    """By when the answer came, its left edge excluded and its right edge included."""
    inside = [record(9.0, 1.0), record(14.0, 1.0), record(10.0, 4.0), *[record(11, 1)] * 2]
    outside = [record(4.0, 1.0), record(14.5, 1.0), record(11.0, 1.0, status=500)]
    assert {"stable": pytest.approx(3.4)} == window_p95(inside + outside, at=15.0, width=10.0)


def test_too_few_answers_have_no_p95():
    """Of four it would be their maximum."""
    few = [record(i, 0.5, "canary") for i in range(4)]
    many = [record(i, 0.5) for i in range(5)]
    assert {"stable": 0.5} == window_p95(few + many, at=10.0, width=10.0)


def test_p95_over_time_has_a_point_a_second_with_the_ratio_of_the_variants():
    """Canary over stable, not a number where one of them is missing."""
    records = [record(i / 10, 0.1) for i in range(20)]
    records += [record(1 + i / 10, 0.2, "canary") for i in range(10)]
    points = p95_over_time(records, width=1.0)
    assert [1.0, 2.0, 3.0] == [point.at for point in points]
    assert math.isnan(points[0].ratio)
    assert points[1].ratio == pytest.approx(2.0)


def test_a_version_keeps_its_group_when_its_role_changes():
    """After a promotion the same version answers as stable."""
    records = [record(i, 0.5, "canary", version="phase-3") for i in range(3)]
    records += [record(i + 3, 0.5, "stable", version="phase-3") for i in range(3)]
    assert {"phase-3": 0.5} == window_p95(records, at=10, width=10, by=by_version)


def test_no_records_have_no_points():
    """An empty plot, not an error."""
    assert [] == p95_over_time([])
