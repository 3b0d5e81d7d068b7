"""The open-loop driver in virtual time: the schedule does not depend on the server."""

from __future__ import annotations

import asyncio
import itertools
import math
import selectors

import pytest

from loadtest.generator.http_client import ClientError, HttpResponse
from loadtest.generator.open_loop import (
    OpenLoopDriver,
    arrivals_before,
    constant_arrivals,
    poisson_arrivals,
)
from loadtest.timings import percentile


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__(selectors.SelectSelector())
        self._now = 0.0
        select = self._selector.select

        def jump(timeout):
            self._now += timeout or 0
            return select(0)

        self._selector.select = jump

    def time(self):
        return self._now


class LoopClock:
    def monotonic(self):
        return asyncio.get_running_loop().time()

    def time(self):
        return self.monotonic()


class FakeCaller:
    """Takes `seconds` for a request. Requests during `stall` wait for its end."""

    def __init__(self, seconds=0.002, stall=(math.inf, math.inf)):
        self.seconds, self.stall = seconds, stall

    async def call(self):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.seconds)
        if self.stall[0] <= loop.time() < self.stall[1]:
            await asyncio.sleep(self.stall[1] - loop.time())
        headers = {
            "x-variant": "stable",
            "x-model-version": "phase-2",
            "server-timing": "queue;dur=0.5, inference;dur=1.5, total;dur=2",
        }
        return HttpResponse(200, headers, b"")


def drive(callers, arrivals, stopped=lambda: False):
    async def scenario():
        driver = OpenLoopDriver(callers, LoopClock())
        await driver.run(arrivals, stopped)
        return driver.requests

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario())


def test_a_stall_is_charged_to_every_request_that_was_due_in_it():
    """The server is frozen for 1 s of 10 s, at 200 requests per second. A tenth of the requests
    wait, for half a second on average, so the P95 of all is the median of those. A closed
    loop would report 2 ms."""
    server = FakeCaller(stall=(4.0, 5.0))
    requests = drive([server] * 1000, arrivals_before(constant_arrivals(200), 10))
    latencies = [request.latency for request in requests]
    assert len(requests) == 2000
    assert percentile(latencies, 95) == pytest.approx(0.5, abs=0.01)
    assert percentile(latencies, 50) == pytest.approx(0.002)
    assert max(latencies) == pytest.approx(1.0, abs=0.01)


def test_the_wait_for_a_free_caller_is_part_of_the_latency_and_counts_as_late():
    """Two callers take a second each. Of four requests due at once, two start a second late."""
    requests = drive([FakeCaller(1.0), FakeCaller(1.0)], [0, 0, 0, 0])
    assert [1, 1, 2, 2] == [pytest.approx(request.latency) for request in requests]
    assert [0, 0, 1, 1] == [pytest.approx(request.late) for request in requests]


def test_a_log_has_the_variant_the_version_and_the_servers_own_times():
    """And the due time; all in seconds."""
    (request,) = drive([FakeCaller()], [3.0])
    assert ("stable", "phase-2", 200) == (request.variant, request.version, request.status)
    assert (0.0005, 0.0015, 0.002) == (request.queue, request.inference, request.total)
    assert request.intended == pytest.approx(3.0)
    assert request.end == pytest.approx(3.002)


def test_a_missing_response_is_logged_and_the_caller_continues():
    """With status 0 and the reason."""

    class BrokenCaller:
        calls = 0

        async def call(self):
            self.calls += 1
            raise ClientError("closed")

    caller = BrokenCaller()
    requests = drive([caller], [0.0, 1.0])
    assert caller.calls == 2
    assert [(0, "closed"), (0, "closed")] == [(r.status, r.error) for r in requests]
    assert not requests[0].ok


def test_an_error_status_is_logged_with_the_servers_message():

    class RefusingCaller:
        async def call(self):
            return HttpResponse(429, {}, b'{"code":"queue_full"}')

    (request,) = drive([RefusingCaller()], [0.0])
    assert (429, '{"code":"queue_full"}', "") == (request.status, request.error, request.variant)


def test_it_stops_on_request_and_awaits_requests_in_flight():
    """No response is lost."""
    sent = itertools.count()
    requests = drive([FakeCaller(5.0)] * 100, constant_arrivals(1), stopped=lambda: next(sent) >= 3)
    assert [0, 1, 2] == [pytest.approx(request.intended) for request in requests]


def test_two_runs_share_one_time_axis():
    """The second run starts where the first ended."""

    async def scenario():
        driver = OpenLoopDriver([FakeCaller(1.0)], LoopClock())
        await driver.run([0.0])
        await driver.run([0.5])
        return driver.requests

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        requests = runner.run(scenario())
    assert [0.0, 1.5] == [pytest.approx(request.intended) for request in requests]


def test_constant_arrivals_are_evenly_spaced():
    """The first is due at once."""
    assert [0, 0.25, 0.5, 0.75] == list(arrivals_before(constant_arrivals(4), 1))


def test_poisson_arrivals_are_reproducible_and_have_the_rate():
    """Both the mean gap and its standard deviation are 1 / rate."""
    first = list(arrivals_before(poisson_arrivals(50, seed=1), 200))
    assert first == list(arrivals_before(poisson_arrivals(50, seed=1), 200))
    assert first[:9] != list(itertools.islice(poisson_arrivals(50, seed=2), 9))
    gaps = [b - a for a, b in itertools.pairwise(first)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.02, rel=0.03)
    assert deviation == pytest.approx(0.02, rel=0.03)
