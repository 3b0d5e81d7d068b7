"""Jobs that could only wait too long are refused at once."""

from __future__ import annotations

import math

import pytest

from service.errors import QueueFull
from service.inference.scheduling.admission import (
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
    admission = admission_of(patience=1.0)
    in_time = math.floor(1.0 / SECONDS_PER_VECTOR)
    admission.check_context(in_time)
    with pytest.raises(QueueFull) as raised:
        admission.check_context(in_time + 1000)
    assert raised.value.retry_after == pytest.approx(1000 * SECONDS_PER_VECTOR, rel=0.01)


def test_without_an_estimate_no_context_is_refused_before_the_first_has_run():
    admission = admission_of(estimate_contexts=False)
    admission.check_context(10**9)
    admission.observe(1, 100, 100.0, contexts=True)
    with pytest.raises(QueueFull):
        admission.check_context(10**9)


def test_estimates_follow_the_batches():
    admission = admission_of(queue_limit=1)
    for _ in range(200):
        admission.observe(2, 500, 1.0, contexts=True)
    with pytest.raises(QueueFull) as raised:
        admission.check_queue(1)
    assert raised.value.retry_after == pytest.approx(0.5)
    with pytest.raises(QueueFull) as raised:
        admission.check_context(1000)
    assert raised.value.retry_after == pytest.approx(2.0 - 1.0)


def test_steps_do_not_change_the_estimate_for_contexts():
    admission = admission_of(patience=1.0)
    for _ in range(200):
        admission.observe(1, 1, 1.0, contexts=False)
    admission.check_context(1000)
