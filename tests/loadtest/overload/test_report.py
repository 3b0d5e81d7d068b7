"""Figures and targets of an overload test."""

from __future__ import annotations

import math

import orjson
import pytest

from loadtest.generator.request_log import RequestLog
from loadtest.overload.probes import ProbeResult
from loadtest.overload.report import figures, write
from loadtest.overload.run import OverloadRun


def run_of(
    *, statuses=(200, 429), refusal=0.01, probe=0.01, recovery=0.2, probe_status=200, lag=0.001
):
    requests = [
        RequestLog(at / 10, 0.0, refusal if status == 429 else 0.5, status)
        for at in range(20)
        for status in statuses
    ]
    probes = [ProbeResult("ready", 0.0, probe, probe_status)] * 5
    return OverloadRun(3.0, 100.0, 2.0, requests, requests[:4], [lag] * 5, probes, 0.0, recovery)


def missed(run):
    return {figure.name.partition(",")[0] for figure in figures(run) if figure.met is False}


def test_a_good_run_meets_every_target():
    assert missed(run_of()) == set()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"statuses": (200, 504)}, {"accepted but late (504)"}),
        ({"statuses": (200, 500)}, {"other failures"}),
        ({"statuses": (200, 0)}, {"other failures"}),
        ({"refusal": 0.2}, {"time to 429"}),
        ({"probe": 0.3}, {"ready on a new connection"}),
        ({"probe_status": 0}, {"ready on a new connection"}),
        ({"lag": 0.05}, {"generator behind its schedule"}),
        ({"recovery": 1.5}, {"recovery"}),
        ({"recovery": math.inf}, {"recovery"}),
    ],
)
def test_each_target_can_be_missed(changes, names):
    assert missed(run_of(**changes)) == names


@pytest.mark.slow
def test_the_report_is_written(tmp_path):
    picture = write(run_of(), tmp_path)
    assert picture.stat().st_size > 10_000
    document = orjson.loads((tmp_path / "overload.json").read_bytes())
    assert document["factor"] == 3.0
    assert {"capacity", "recovery"} <= {figure["name"] for figure in document["figures"]}
