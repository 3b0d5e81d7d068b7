"""An open-loop driver: requests are due by a schedule, whatever the server does.

A closed loop asks again when it has been answered, so a server that stalls for
a second is asked less, and the stall is one slow request among many. Here the
requests of that second are due all the same and each counts its wait: see
"coordinated omission" in G. Tene, *How NOT to Measure Latency*.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from loadtest.generator.callers import Caller
from loadtest.generator.http_client import ClientError
from loadtest.report.request_log import RequestLog, server_timing
from service.clock import Clock


def poisson_arrivals(rate: float, seed: int) -> Iterator[float]:
    """Arrivals in seconds at `rate` a second on average, independent of each other; endless."""
    random = np.random.default_rng(seed)
    at = 0.0
    while True:
        for gap in random.exponential(1 / rate, 1024).tolist():
            at += gap
            yield at


def constant_arrivals(rate: float) -> Iterator[float]:
    """Arrivals in seconds, evenly `1 / rate` apart; endless."""
    return (i / rate for i in itertools.count())


def arrivals_before(arrivals: Iterable[float], duration: float) -> Iterator[float]:
    """Those before `duration` seconds."""
    return itertools.takewhile(lambda at: at < duration, arrivals)


class OpenLoopDriver:
    """Sends what is due and records what comes.

    An arrival takes the caller that has been idle longest. When none is idle it
    waits, and that wait is part of its latency: `callers` bounds the requests in
    flight without hiding what the bound costs. `records` grows as answers come,
    in their order; their times count from `epoch`, the driver's making.
    """

    def __init__(self, callers: Sequence[Caller], clock: Clock) -> None:
        self.records: list[RequestLog] = []
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
        """Send at each of `arrivals` (seconds from now), until `stopped`; await every answer."""
        begin = self.now()
        async with asyncio.TaskGroup() as requests:
            for at in arrivals:
                intended = begin + at
                if (wait := intended - self.now()) > 0:
                    await asyncio.sleep(wait)
                if stopped():
                    return
                caller = await self._idle.get()
                requests.create_task(self._send(caller, intended))

    async def _send(self, caller: Caller, intended: float) -> None:
        late = self.now() - intended
        try:
            response = await caller.call()
        except ClientError as error:
            latency = self.now() - intended
            self.records.append(RequestLog(intended, late, latency, status=0, error=str(error)))
        else:
            latency = self.now() - intended
            timing = server_timing(response.headers.get("server-timing", ""))
            self.records.append(
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
