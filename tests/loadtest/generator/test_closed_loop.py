"""Closed-loop load in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from loadtest.generator import closed_loop
from loadtest.generator.http_client import ClientError, HttpResponse
from tests.support.fakes import FakeClock


@dataclass
class FixedCaller:
    """Responds after `seconds` of its clock; the last of `statuses` is repeated."""

    clock: FakeClock
    seconds: float
    statuses: list[int] = field(default_factory=lambda: [200])

    async def call(self):
        self.clock.advance(self.seconds)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return HttpResponse(status, {}, b"said")


async def test_a_closed_loop_counts_requests_that_complete_in_its_time():
    """The first tenth is warm-up."""
    clock = FakeClock()
    times = await closed_loop.run([FixedCaller(clock, 0.5)], 10.0, clock)
    assert (20, 0.5, 0.5, 2.0) == (times.count, times.p50, times.p95, times.rate)


async def test_a_failed_request_ends_the_loop():
    """The error has the response of the server."""
    clock = FakeClock()
    with pytest.raises(ClientError, match="status 500: said"):
        await closed_loop.run([FixedCaller(clock, 0.5, [200, 500])], 10.0, clock)


async def test_a_loop_without_a_completed_request_is_an_error():
    clock = FakeClock()
    with pytest.raises(ClientError, match="no request completed"):
        await closed_loop.run([FixedCaller(clock, 100.0)], 10.0, clock)
