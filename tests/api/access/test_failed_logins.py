"""Failed log-ins: logged, counted and slowed down, with bounded memory."""

from __future__ import annotations

import asyncio
import logging

import pytest

from service.api.access.failed_logins import (
    FREE_FAILURES,
    MAX_ADDRESSES,
    MAX_DELAY_SECONDS,
    MAX_WAITING,
    MEMORY_SECONDS,
    FailedLogins,
)
from service.errors import TooManyFailures
from service.metrics import Metrics, new_registry
from tests.support.fakes import FakeClock


class World:
    def __init__(self):
        self.clock = FakeClock()
        self.metrics = Metrics(new_registry(), 10.0)
        self.delays = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = FailedLogins(self.metrics, self.clock, sleep=self.sleep)

    async def sleep(self, seconds):
        self.delays.append(seconds)
        await self.gate.wait()

    async def fail(self, address="10.0.0.1", reason="unknown", times=1):
        for _ in range(times):
            await self.failures.note("admin", reason, address, "request-1")

    def counted(self, reason="unknown"):
        return self.metrics.failed_logins.labels("admin", reason)._value.get()


@pytest.fixture
def world():
    return World()


async def test_a_failure_is_counted_and_logged_without_the_token(world, caplog):
    caplog.set_level(logging.WARNING)
    await world.fail(reason="expired")
    assert world.counted("expired") == 1
    (line,) = caplog.messages
    assert line == (
        "failed log-in (admin, expired token) from 10.0.0.1, failure 1 of this address, "
        "request request-1"
    )


async def test_further_failures_of_an_address_wait_longer_and_longer(world):
    await world.fail(times=FREE_FAILURES)
    assert world.delays == []
    await world.fail(times=20)
    assert world.delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(world.delays) == MAX_DELAY_SECONDS
    world.delays.clear()
    await world.fail(address="10.0.0.2")
    assert world.delays == []


async def test_an_address_is_forgotten_after_a_while(world):
    await world.fail(times=20)
    world.delays.clear()
    world.clock.advance(MEMORY_SECONDS + 1)
    await world.fail(times=FREE_FAILURES)
    assert world.delays == []


async def test_a_missing_token_is_not_slowed_down(world):
    await world.fail(times=20, reason="missing")
    assert world.delays == []
    assert world.counted("missing") == 20


async def test_the_log_cannot_be_filled(world, caplog):
    caplog.set_level(logging.WARNING)
    await world.fail(times=1000)
    assert len(caplog.messages) < 30


async def test_memory_is_bounded(world):
    for i in range(MAX_ADDRESSES + 500):
        await world.fail(address=f"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}")
    assert len(world.failures) == MAX_ADDRESSES


async def test_the_addresses_of_one_ipv6_host_count_together(world):
    for i in range(FREE_FAILURES + 1):
        await world.fail(address=f"2001:db8::{i:x}")
    assert world.delays == [0.1]
    await world.fail(address="2001:db8:0:1::1")
    await world.fail(address="::ffff:10.9.9.9")
    await world.fail(address="unknown")
    assert len(world.failures) == 4


async def test_answers_that_wait_are_bounded(world):
    await world.fail(times=FREE_FAILURES)
    world.gate.clear()
    waiting = [asyncio.create_task(world.fail()) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyFailures) as caught:
        await world.fail()
    assert caught.value.retry_after > 0
    world.gate.set()
    await asyncio.gather(*waiting)
    await world.fail()
