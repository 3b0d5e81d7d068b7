"""The report of a run, from literal requests."""

from __future__ import annotations

import math

import orjson
import pytest

from loadtest.generator.request_log import RequestLog
from loadtest.report import summary


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


def test_rows_are_by_variant_and_count_failures_separately():
    """Percentiles cover successful requests. Missing responses have their own row."""
    lost = RequestLog(0.5, 0.0, 30.0, 0, error="closed")
    refused = RequestLog(0.5, 0.0, 0.001, 503, "stable", "phase-2", error="not ready")
    result = summary.summarise([*requests(), lost, refused], {"mode": "session"})
    assert [("canary", 20, 0), ("stable", 21, 1), ("none", 1, 1)] == [
        (row.variant, row.count, row.errors) for row in result.rows
    ]
    stable = result.rows[1]
    assert (0.0105, 0.01905, 0.01981) == pytest.approx((stable.p50, stable.p95, stable.p99))
    assert stable.server_p95 == pytest.approx(0.001)
    assert (42, 2, 20) == (result.count, result.errors, result.late)
    assert result.ratio == pytest.approx(2.0)
    assert {"no response: closed": 1, "503: not ready": 1} == result.faults


def test_throughput_is_successful_requests_over_the_time_to_the_last_response():
    """The last response ends after 2 s."""
    result = summary.summarise([RequestLog(0, 0, 0.5, 200), RequestLog(1, 0, 1.0, 200)], {})
    assert (2.0, 1.0) == (result.seconds, result.rows[0].throughput)


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        (100, 0, None),
        (99, 1, None),
        (98, 2, "2 of 100 requests failed (2.0%; limit 1%), mostly: 429: full"),
        (0, 3, "no request succeeded: 429: full"),
        (0, 0, "no request succeeded: no request was sent"),
    ],
)
def test_a_run_with_more_than_one_per_cent_of_errors_fails(good, bad, expected):
    """So does a run without a successful request."""
    sent = [RequestLog(0, 0, 1, 200)] * good + [RequestLog(0, 0, 1, 429, error="full")] * bad
    assert expected == summary.summarise(sent, {}).problem()


def test_the_report_is_written_as_json_and_markdown(tmp_path):
    """Both have the same figures."""
    result = summary.summarise(requests(), {"mode": "session", "rate": 20})
    summary.write(result, tmp_path / "new")
    read = orjson.loads((tmp_path / "new" / "report.json").read_bytes())
    text = (tmp_path / "new" / "report.md").read_text()
    assert [20, 20] == [row["count"] for row in read["rows"]]
    assert "| stable | phase-2 | 20 | 0 | 10.5 | 19.1 | 19.8 | 1.0 |" in text
    assert "Canary P95 over stable P95: 2.00 (limit 1.2)." in text
    assert "Settings: mode session, rate 20." in text


def test_nan_is_null_in_json_and_a_dash_in_the_table(tmp_path):
    """A run with one variant has no ratio."""
    result = summary.summarise([RequestLog(0, 0, 1, 500, "stable", "phase-2", error="x")], {})
    assert math.isnan(result.ratio)
    assert orjson.loads(summary.as_json(result))["ratio"] is None
    assert "| - | - | - | - |" in summary.as_markdown(result)
