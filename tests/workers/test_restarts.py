"""Delays grow with every end and start again after a steady run."""

from __future__ import annotations

from service.workers.restarts import RestartCounter, RestartRule

RULE = RestartRule(first=0.5, longest=4.0, steady=60.0, attempts=3)


def test_delays_double_up_to_the_longest():
    counter = RestartCounter(RULE)
    delays = [counter.delay(1.0, was_ready=True) for _ in range(6)]
    assert [0.5, 1.0, 2.0, 4.0, 4.0, 4.0] == delays


def test_a_steady_run_starts_the_count_again():
    counter = RestartCounter(RULE)
    for _ in range(4):
        counter.delay(1.0, was_ready=True)
    assert counter.delay(60.0, was_ready=True) == 0.5
    assert counter.delay(59.0, was_ready=True) == 1.0


def test_starts_that_fail_are_not_repeated_for_ever():
    counter = RestartCounter(RULE)
    assert [0.5, 1.0, None] == [counter.delay(100.0, was_ready=False) for _ in range(3)]


def test_a_start_that_succeeds_begins_the_count_again():
    counter = RestartCounter(RULE)
    counter.delay(1.0, was_ready=False)
    counter.delay(1.0, was_ready=False)
    counter.delay(1.0, was_ready=True)
    assert counter.delay(1.0, was_ready=False) is not None
