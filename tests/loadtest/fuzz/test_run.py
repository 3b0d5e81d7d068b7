"""What the fuzzer calls a failure."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtest.fuzz.run import FuzzBounds, FuzzRun
from loadtest.process_stats import ProcessStats

SMALL = ProcessStats(300 * 2**20, 30, 12)


def a_run(**fields):
    return FuzzRun(**{"statuses": Counter({200: 5, 400: 9, 504: 1}), **fields})


def test_refusals_and_deadlines_are_no_failures():
    assert [] == a_run(before=SMALL, after=SMALL).problems(FuzzBounds())


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (a_run(statuses=Counter({200: 5, 500: 2, 503: 1})), "3 answers of 5xx"),
        (a_run(statuses=Counter()), "no input was answered"),
        (a_run(hangs=1), "1 health probes without an answer"),
        (a_run(died=True), "the server ended"),
        (a_run(tracebacks=2), "2 tracebacks"),
        (a_run(before=SMALL, after=ProcessStats(900 * 2**20, 30, 12)), "memory grew by 600 MB"),
        (a_run(before=SMALL, after=ProcessStats(SMALL.rss, 99, 12)), "69 descriptors"),
        (a_run(before=SMALL, after=ProcessStats(SMALL.rss, 30, 40)), "28 threads"),
    ],
)
def test_a_failure_is_named(run, text):
    problems = run.problems(FuzzBounds())

    assert 1 == len(problems)
    assert text in problems[0]
