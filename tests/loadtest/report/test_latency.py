"""Percentiles of latencies, compared with literals."""

from __future__ import annotations

import math

import pytest

from loadtest.generator.request_log import RequestLog
from loadtest.report.latency import by_version, p95_over_time, window_p95
from loadtest.timings import percentile


def request(intended, latency, variant="stable", status=200, version="phase-2"):
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
    """As in NumPy and spreadsheets."""
    assert expected == pytest.approx(percentile(values, q))


def test_the_percentile_of_an_empty_sequence_is_nan():
    """Zero would look very fast."""
    assert math.isnan(percentile([], 95))


def test_a_window_has_the_requests_that_completed_in_it():
    """Only successful ones. The left edge is excluded and the right edge included."""
    inside = [request(9.0, 1.0), request(14.0, 1.0), request(10.0, 4.0), *[request(11, 1)] * 2]
    outside = [request(4.0, 1.0), request(14.5, 1.0), request(11.0, 1.0, status=500)]
    assert {"stable": pytest.approx(3.4)} == window_p95(inside + outside, at=15.0, width=10.0)


def test_too_few_requests_have_no_p95():
    """The P95 of four is their maximum."""
    few = [request(i, 0.5, "canary") for i in range(4)]
    many = [request(i, 0.5) for i in range(5)]
    assert {"stable": 0.5} == window_p95(few + many, at=10.0, width=10.0)


def test_p95_over_time_has_a_point_per_second_with_the_ratio():
    """Canary over stable; NaN if one of them is missing."""
    requests = [request(i / 10, 0.1) for i in range(20)]
    requests += [request(1 + i / 10, 0.2, "canary") for i in range(10)]
    points = p95_over_time(requests, width=1.0)
    assert [1.0, 2.0, 3.0] == [point.at for point in points]
    assert math.isnan(points[0].ratio)
    assert points[1].ratio == pytest.approx(2.0)


def test_a_version_keeps_its_group_when_its_role_changes():
    """After a promotion the same version is stable."""
    requests = [request(i, 0.5, "canary", version="phase-3") for i in range(3)]
    requests += [request(i + 3, 0.5, "stable", version="phase-3") for i in range(3)]
    assert {"phase-3": 0.5} == window_p95(requests, at=10, width=10, by=by_version)


def test_no_requests_have_no_points():
    """The plot is empty."""
    assert [] == p95_over_time([])
