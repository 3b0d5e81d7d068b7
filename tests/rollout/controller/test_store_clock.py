"""The fleet's clock is the store's, whatever the machine's says."""

from __future__ import annotations

from service.rollout.controller.store_clock import StoreClock
from tests.support.rollout_fakes import SteppingClock


def test_the_machines_clock_counts_until_the_store_answers():
    machine = SteppingClock(1000.0)
    assert 1000.0 == StoreClock(machine).time()


def test_a_machine_an_hour_ahead_has_the_stores_time():
    machine = SteppingClock(1000.0)
    machine.wrong = 3600.0
    clock = StoreClock(machine)
    clock.observe(5000.0, 1000.0, 1000.2)
    machine.now = 1010.0
    assert 5000.0 - 0.1 + 10.0 == clock.time()
    assert 1010.0 == clock.monotonic()


def test_a_slow_answer_does_not_move_the_clock():
    machine = SteppingClock(1000.0)
    clock = StoreClock(machine)
    clock.observe(5000.0, 1000.0, 1000.0)
    clock.observe(5100.0, 1000.0, 1003.0)
    assert 5000.0 == clock.time()
    clock.observe(5100.0, 1000.0, 1000.4)
    assert 5099.8 == clock.time()
