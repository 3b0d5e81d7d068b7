"""Runs a soak test against a server, and judges whether anything grew."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.open_loop import OpenLoopDriver, arrivals_before, poisson_arrivals
from loadtest.process_stats import ProcessStats, read_process
from loadtest.rollout_client import RolloutClient
from loadtest.soak.disturbances import Disturbances
from loadtest.soak.trend import Trend, fit_trend
from loadtest.soak.workload import CONTEXT, make_callers
from loadtest.streams import Streams
from loadtest.target_server import TargetServer
from service.clock import Clock

WARM_UP_SHARE = 0.3
"""The part of a run in which caches, pools and session stores fill. It is not judged."""

_SAMPLE_SECONDS = 2.0
_QUIET_SECONDS = 3.0
_EVENT_STREAMS = 3


@dataclass(frozen=True)
class GrowthBounds:
    """The growth over the judged part of a run above which it fails."""

    rss_mb: float = 32.0
    descriptors: float = 16.0
    threads: float = 4.0
    p95_percent: float = 50.0


@dataclass(frozen=True)
class SoakSample:
    """One interval: its end in seconds, its P95 in ms, and the process. NaN if unknown."""

    at: float
    p95_ms: float
    rss_mb: float = math.nan
    descriptors: float = math.nan
    threads: float = math.nan


@dataclass
class SoakRun:
    """The progress and the outcome of a soak test."""

    seconds: float
    watched: bool
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[SoakSample] = field(default_factory=list)
    disturbances: Disturbances | None = None
    idle_before: ProcessStats | None = None
    idle_after: ProcessStats | None = None
    tracebacks: int = 0
    """In the log of a server that was started for the run."""
    died: bool = False

    @property
    def judged(self) -> list[SoakSample]:
        """The samples after the warm-up."""
        return [sample for sample in self.samples if sample.at >= WARM_UP_SHARE * self.seconds]

    def trends(self) -> dict[str, Trend]:
        """Growth over the judged part, by name: MB, counts, and the P95 in per cent."""
        judged = self.judged
        at = [sample.at for sample in judged]
        p95 = [sample.p95_ms for sample in judged]
        level = float(np.nanmedian(p95)) if np.isfinite(p95).any() else math.nan
        percent = [100 * value / level for value in p95]
        names = ("rss_mb", "descriptors", "threads") if self.watched else ()
        values = {name: [getattr(sample, name) for sample in judged] for name in names}
        values["p95_percent"] = percent
        return {name: fit_trend(at, series) for name, series in values.items()}

    def problems(self, bounds: GrowthBounds) -> list[str]:
        """Why the run failed; empty if it passed."""
        found = []
        if self.died:
            found.append("the server ended")
        if failed := sum(n for status, n in self.statuses.items() if status >= 500):
            found.append(f"{failed} answers of 5xx")
        if self.tracebacks:
            found.append(f"{self.tracebacks} tracebacks in the server's log")
        if self.statuses[0]:
            found.append(f"{self.statuses[0]} requests without an answer")
        if not any(200 <= status < 300 for status in self.statuses):
            found.append("no request succeeded")
        for name, trend in self.trends().items():
            bound = getattr(bounds, name)
            if trend.exceeds(bound):
                found.append(f"{name} grew by {trend.growth:.3g}, more than {bound:g}")
        if self.idle_before and self.idle_after:
            left = self.idle_after.descriptors - self.idle_before.descriptors
            if left > bounds.descriptors:
                found.append(f"{left} descriptors were left open after the load")
        return found


async def run_soak(
    target: TargetServer,
    streams: Streams,
    clock: Clock,
    seconds: float,
    rate: float,
    show: Callable[[SoakRun], None] = lambda _: None,
) -> SoakRun:
    """Send `rate` requests per second for `seconds`, with disturbances. Raises `ClientError`
    if the server does not answer at the start."""
    client = HttpClient(target.url)
    watched = target.pid is not None and read_process(target.pid) is not None
    run = SoakRun(seconds, watched)
    run.idle_before = _process(target)
    model = await _model(client)
    key = secrets.token_hex(4)
    callers = make_callers(client, streams, model, key, target.token)
    driver = OpenLoopDriver(callers, clock)
    run.disturbances = Disturbances(target.url, target.token)
    admin = RolloutClient(target.url, target.token or "", driver.now)
    background = _background(run.disturbances, target, admin, streams)
    background.append(asyncio.create_task(_sample(run, driver, target, show)))
    try:
        await driver.run(arrivals_before(poisson_arrivals(rate, 0), seconds), lambda: run.died)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        client.close()
        await admin.close()
    _count(run, driver)
    await asyncio.sleep(_QUIET_SECONDS)
    run.idle_after = _process(target)
    run.died = run.died or (watched and run.idle_after is None)
    return run


def _background(
    disturbances: Disturbances, target: TargetServer, admin: RolloutClient, streams: Streams
) -> list[asyncio.Task[None]]:
    body = streams.read(99, 0, CONTEXT).tobytes()
    tasks = [asyncio.create_task(disturbances.abort_requests(body))]
    if target.token:
        tasks += [asyncio.create_task(disturbances.read_events()) for _ in range(_EVENT_STREAMS)]
    if target.token and target.canary:
        tasks.append(asyncio.create_task(disturbances.run_rollouts(admin, target.canary)))
    return tasks


async def _sample(
    run: SoakRun, driver: OpenLoopDriver, target: TargetServer, show: Callable[[SoakRun], None]
) -> None:
    while not run.died:
        await asyncio.sleep(_SAMPLE_SECONDS)
        latencies = _count(run, driver)
        p95 = float(np.percentile(latencies, 95)) * 1000 if latencies else math.nan
        stats = _process(target)
        run.died = run.watched and stats is None
        if stats is None:
            run.samples.append(SoakSample(driver.now(), p95))
        else:
            rss_mb = stats.rss / 2**20
            run.samples.append(
                SoakSample(driver.now(), p95, rss_mb, stats.descriptors, stats.threads)
            )
        show(run)


def _count(run: SoakRun, driver: OpenLoopDriver) -> Sequence[float]:
    """Count the requests since the last call and forget them; return their latencies."""
    requests, driver.requests = driver.requests, []
    for request in requests:
        run.statuses[request.status] += 1
        if not request.ok:
            run.errors[f"{request.status} {request.error[:100]}"] += 1
    return [request.latency for request in requests if request.ok]


def _process(target: TargetServer) -> ProcessStats | None:
    return None if target.pid is None else read_process(target.pid)


async def _model(client: HttpClient) -> str:
    """The name of the model that the server has. Raises `ClientError`."""
    response = await client.request("GET", "/v2/models")
    with suppress(LookupError, TypeError):
        return str(response.json()["models"][0])  # type: ignore[index]
    raise ClientError(f"/v2/models answered {response.status} without a model")
