"""What a soak test calls a failure."""

from __future__ import annotations

from collections import Counter

import pytest

from loadtest.process_stats import ProcessStats
from loadtest.soak.run import GrowthBounds, SoakRun, SoakSample

BOUNDS = GrowthBounds()


def a_run(rss=0.0, descriptors=0.0, p95=0.0, **fields):
    """A run of 600 s that grows by these amounts; the P95 by a factor above 1."""
    samples = [
        SoakSample(
            at, 10 * (1 + p95 * at / 600), 300 + rss * at / 600, 30 + descriptors * at / 600, 12
        )
        for at in range(0, 600, 2)
    ]
    fields = {"statuses": Counter({200: 1000, 429: 3}), **fields}
    return SoakRun(600, watched=True, samples=samples, **fields)


def test_a_flat_run_passes():
    assert [] == a_run().problems(BOUNDS)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (a_run(rss=100), "rss_mb grew by"),
        (a_run(descriptors=60), "descriptors grew by"),
        (a_run(p95=2.0), "p95_percent grew by"),
        (a_run(statuses=Counter({200: 9, 503: 2})), "2 answers of 5xx"),
        (a_run(statuses=Counter({200: 9, 0: 1})), "1 requests without an answer"),
        (a_run(statuses=Counter({404: 9})), "no request succeeded"),
        (a_run(died=True), "the server ended"),
        (a_run(tracebacks=1), "1 tracebacks"),
        (
            a_run(idle_before=ProcessStats(1, 20, 9), idle_after=ProcessStats(1, 90, 9)),
            "70 descriptors were left open",
        ),
    ],
)
def test_a_failure_is_named(run, text):
    problems = run.problems(BOUNDS)

    assert 1 == len(problems)
    assert text in problems[0]


def test_growth_in_the_warm_up_is_not_judged():
    run = a_run()
    run.samples = [
        SoakSample(s.at, s.p95_ms, 300 + min(s.at, 150), s.descriptors, s.threads)
        for s in run.samples
    ]

    assert [] == run.problems(BOUNDS)
