"""Open-loop load: requests follow a schedule that does not depend on the server.

In a closed loop a caller waits for its response, so a server that stalls for a second
receives fewer requests, and the stall shows as one slow request. In an open loop the
requests of that second are due as scheduled, and the latency of each includes its wait.
The effect is called coordinated omission: G. Tene, *How NOT to Measure Latency*.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from loadtest.generator.callers import Caller
from loadtest.generator.http_client import ClientError
from loadtest.generator.request_log import RequestLog, server_timing
from service.clock import Clock


def poisson_arrivals(rate: float, seed: int) -> Iterator[float]:
    """Endless arrival times in seconds of a Poisson process with `rate` arrivals per second."""
    random = np.random.default_rng(seed)
    at = 0.0
    while True:
        for gap in random.exponential(1 / rate, 1024).tolist():
            at += gap
            yield at


def constant_arrivals(rate: float) -> Iterator[float]:
    """Endless arrival times in seconds, `1 / rate` apart."""
    return (i / rate for i in itertools.count())


def arrivals_before(arrivals: Iterable[float], duration: float) -> Iterator[float]:
    """The arrival times before `duration` seconds."""
    return itertools.takewhile(lambda at: at < duration, arrivals)


class OpenLoopDriver:
    """Sends requests on schedule and logs them.

    An arrival takes the caller that has been idle longest. If no caller is idle, the
    arrival waits, and its latency includes the wait. So `callers` limits the requests in
    flight without hiding the cost of the limit. `requests` is in order of completion;
    its times count from `epoch`, the creation of the driver.
    """

    def __init__(self, callers: Sequence[Caller], clock: Clock) -> None:
        self.requests: list[RequestLog] = []
        self.epoch = clock.monotonic()
        self._clock = clock
        self._idle: asyncio.Queue[Caller] = asyncio.Queue()
        for caller in callers:
            self._idle.put_nowait(caller)

    def now(self) -> float:
        """Seconds since `epoch`."""
        return self._clock.monotonic() - self.epoch

    async def run(
        self, arrivals: Iterable[float], stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Send at each of `arrivals` (seconds from now) until `stopped`; await all responses."""
        begin = self.now()
        async with asyncio.TaskGroup() as tasks:
            for at in arrivals:
                intended = begin + at
                if (wait := intended - self.now()) > 0:
                    await asyncio.sleep(wait)
                if stopped():
                    return
                caller = await self._idle.get()
                tasks.create_task(self._send(caller, intended))

    async def _send(self, caller: Caller, intended: float) -> None:
        late = self.now() - intended
        try:
            response = await caller.call()
        except ClientError as error:
            latency = self.now() - intended
            self.requests.append(RequestLog(intended, late, latency, status=0, error=str(error)))
        else:
            latency = self.now() - intended
            timing = server_timing(response.headers.get("server-timing", ""))
            self.requests.append(
                RequestLog(
                    intended,
                    late,
                    latency,
                    response.status,
                    response.headers.get("x-variant", ""),
                    response.headers.get("x-model-version", ""),
                    **{
                        name: timing[name]
                        for name in ("queue", "inference", "total") & timing.keys()
                    },
                    error=""
                    if response.status < 400
                    else response.body[:200].decode("utf-8", "replace"),
                )
            )
        finally:
            self._idle.put_nowait(caller)
