"""Jobs that could only wait too long are refused at once."""

from __future__ import annotations

import math

import pytest

from service.errors import QueueFull
from service.inference.scheduling.admission import (
    SAFETY,
    SECONDS_PER_JOB,
    SECONDS_PER_VECTOR,
    Admission,
)


def admission_of(queue_limit=4, patience=1.0, *, estimate_contexts=True):
    return Admission(queue_limit, patience, estimate_contexts=estimate_contexts)


def test_a_full_queue_refuses_and_says_when_to_retry():
    admission = admission_of(queue_limit=4)
    admission.check_queue(3)
    with pytest.raises(QueueFull, match="4 requests") as raised:
        admission.check_queue(4)
    assert raised.value.retry_after == pytest.approx(4 * SECONDS_PER_JOB)


def test_a_context_that_would_be_late_is_refused():
    """Its own vectors count, and a margin of the patience remains."""
    admission = admission_of(patience=1.0)
    in_time = math.floor(SAFETY / SECONDS_PER_VECTOR)
    admission.check_context(500, in_time - 500, beside=0)
    with pytest.raises(QueueFull) as raised:
        admission.check_context(500, in_time + 500, beside=0)
    assert raised.value.retry_after == pytest.approx(1000 * SECONDS_PER_VECTOR, rel=0.01)


def test_contexts_that_may_run_beside_it_count():
    admission = admission_of(patience=1.0)
    in_time = math.floor(SAFETY / SECONDS_PER_VECTOR)
    admission.check_context(500, in_time - 2000, beside=3)
    with pytest.raises(QueueFull):
        admission.check_context(500, in_time - 1500, beside=3)


def test_a_callers_own_patience_counts_if_it_is_shorter():
    admission = admission_of(patience=1.0)
    admission.check_context(500, 500, 0, patience=5.0)
    with pytest.raises(QueueFull):
        admission.check_context(500, 500, 0, patience=0.2)
    with pytest.raises(QueueFull):
        admission.check_context(500, 5000, 0, patience=5.0)


def test_with_nothing_ahead_a_context_always_runs():
    """An estimate that is far too high is corrected by the next run."""
    admission = admission_of(patience=1.0)
    admission.observe(1, 1, 100.0, contexts=True)
    admission.check_context(500, 0, beside=3)
    with pytest.raises(QueueFull):
        admission.check_context(500, 1, beside=3)


def test_without_an_estimate_no_context_is_refused_before_the_first_has_run():
    admission = admission_of(estimate_contexts=False)
    admission.check_context(10**9, 10**9, beside=3)
    admission.observe(1, 100, 100.0, contexts=True)
    with pytest.raises(QueueFull):
        admission.check_context(10**9, 10**9, beside=3)


def test_estimates_follow_the_batches():
    admission = admission_of(queue_limit=1)
    for _ in range(200):
        admission.observe(2, 500, 1.0, contexts=True)
    with pytest.raises(QueueFull) as raised:
        admission.check_queue(1)
    assert raised.value.retry_after == pytest.approx(0.5)
    with pytest.raises(QueueFull) as raised:
        admission.check_context(500, 500, beside=0)
    assert raised.value.retry_after == pytest.approx(2.0 - SAFETY * 1.0)


def test_steps_do_not_change_the_estimate_for_contexts():
    admission = admission_of(patience=1.0)
    for _ in range(200):
        admission.observe(1, 1, 1.0, contexts=False)
    admission.check_context(500, 500, beside=0)
