"""What a run's record means under each promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.fleet.drill.faults import Fault, FaultKind
from loadtest.fleet.drill.oracle import Verification
from loadtest.fleet.drill.record import (
    AppendTiming,
    DrillRecord,
    FailedRequest,
    FaultSpan,
    SessionFault,
    WeightSample,
)
from loadtest.fleet.drill.report import AFTER_SECONDS, Promises, make_report, weight_changes
from loadtest.fleet.drill.view import rows

SYNC, ASYNC = Promises("sync", "refuse"), Promises("async", "serve")
LOST = SessionFault(12.0, "s", 2, "status 409 at position 5: 3 left")


def record(**parts):
    made = DrillRecord(lambda: 30.0)
    made.appends += [AppendTiming(float(at), 0.01 * at, 0.001 * at, at > 5) for at in range(1, 11)]
    for name, values in parts.items():
        getattr(made, name).extend(values)
    return made


def span(kind, begin=10.0, end=13.0):
    return FaultSpan(Fault(kind, 0.5, 0.5), begin, end)


def report(promises=SYNC, answers=10, **parts):
    return make_report(record(**parts), Verification(answers, (), 0.0), promises)


def test_a_run_without_faults_has_no_problem():
    found = report()
    assert () == found.problems
    assert 10 == found.appends
    assert 5 == found.takeovers
    assert pytest.approx(8.0) == found.takeover_p50_ms
    assert pytest.approx(100.0) == found.longest_wait_ms


def test_a_run_without_appends_proves_nothing():
    empty = make_report(DrillRecord(lambda: 1.0), Verification(0, (), 0.0), SYNC)
    assert ("no append succeeded",) == empty.problems
    assert math.isnan(empty.takeover_p99_ms)
    assert "–" == rows(empty)["longest wait"]


def test_answers_that_were_not_compared_prove_nothing():
    assert "only 9 of 10 answers were compared" in report(answers=9).problems


@pytest.mark.parametrize(
    ("promises", "spans", "broken"),
    [
        (SYNC, [span(FaultKind.KILL)], True),
        (ASYNC, [span(FaultKind.KILL)], False),
        (ASYNC, [span(FaultKind.REDIS)], False),
        (ASYNC, [span(FaultKind.ROLLING)], True),
        (ASYNC, [], True),
        (ASYNC, [span(FaultKind.KILL, 1.0, 12.0 - AFTER_SECONDS - 0.1)], True),
    ],
)
def test_what_may_be_lost(promises, spans, broken):
    """`sync` loses nothing; `async` loses at a kill, not at an orderly restart."""
    found = report(promises, spans=spans, lost=[LOST])
    assert 2 == found.lost
    assert broken == bool(found.problems)


@pytest.mark.parametrize("promises", [SYNC, ASYNC])
@pytest.mark.parametrize("name", ["lost_silently", "doubled", "not_repeated"])
def test_what_no_setting_allows(promises, name):
    found = report(promises, spans=[span(FaultKind.KILL)], **{name: [LOST]})
    assert 1 == len(found.problems)


@pytest.mark.parametrize(
    ("promises", "kind", "status", "begun", "expected"),
    [
        (SYNC, FaultKind.REDIS, 503, True, True),
        (SYNC, FaultKind.REDIS, 504, True, True),
        (SYNC, FaultKind.REDIS, 500, True, False),
        (SYNC, FaultKind.KILL, 503, True, False),
        (ASYNC, FaultKind.REDIS, 503, True, False),
        (ASYNC, FaultKind.REDIS, 503, False, True),
        (ASYNC, FaultKind.ALL, 0, True, True),
        (ASYNC, FaultKind.POSTGRES, 503, True, False),
    ],
)
def test_which_failures_are_expected(promises, kind, status, begun, expected):
    """ASYNC here serves the sessions that it holds while Redis is down; SYNC refuses all."""
    failed = FailedRequest(11.0, status, "", begun)
    found = report(promises, spans=[span(kind)], failures=[failed])
    assert (0, 1) if expected else (1, 0) == (found.failed, found.failed_expected)
    assert expected != bool(found.problems)


def test_failures_may_be_accepted():
    failures = [FailedRequest(1.0, 503, "", begun=True)] * 3
    assert report(Promises("sync", "refuse", 2), failures=failures).problems
    assert not report(Promises("sync", "refuse", 3), failures=failures).problems


def test_a_process_that_ended_by_itself_is_a_problem():
    assert ("replica-1 ended by itself",) == report(deaths=["replica-1 ended by itself"]).problems


def test_a_weight_counts_when_all_replicas_that_answer_agree():
    def sample(at, replica, weight):
        return WeightSample(at, replica, weight)

    samples = [
        *(sample(0.0, 0, 0.0), sample(0.1, 1, 0.0)),
        *(sample(1.0, 0, 10.0), sample(1.1, 1, 0.0), sample(1.2, 1, 10.0)),
        *(sample(2.0, 0, 30.0), sample(2.1, 1, None)),
        sample(3.0, 1, 30.0),
    ]
    assert [(0.0, 0.0), (1.2, 10.0), (2.1, 30.0)] == weight_changes(samples)
    assert "0 at 0, 10 at 1, 30 at 2" == rows(report(weights=samples))["weight, % at s"]


def test_every_figure_has_a_row():
    shown = rows(report(spans=[span(FaultKind.KILL), span(FaultKind.STOP)]))
    assert "1 × kill, 1 × stop" == shown["faults"]
    assert all(np.char.str_len(list(shown.values())) > 0)
