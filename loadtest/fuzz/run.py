"""Fuzzes a server for a while, and judges whether it survived."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.fuzz.exchange import exchange
from loadtest.fuzz.mutation import mutate
from loadtest.fuzz.requests import odd_tensor_request, valid_requests
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.process_stats import ProcessStats, read_process
from loadtest.target_server import TargetServer
from service.clock import Clock

WORKERS = 24
HANG_SECONDS = 10.0
"""A health probe on a new connection that takes longer counts as a hang."""

_PROBE_SECONDS = 0.5
_QUIET_SECONDS = 3.0
_WARM_UP_SHARE = 0.3


@dataclass(frozen=True)
class FuzzBounds:
    """The growth between the end of the warm-up and the end of the run above which it fails."""

    rss_mb: float = 64.0
    descriptors: int = 16
    threads: int = 4


@dataclass
class FuzzRun:
    """What was sent and what came back."""

    inputs: Counter[str] = field(default_factory=Counter)
    """By kind: `bytes` or `tensors`."""
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[Path] = field(default_factory=list)
    """The inputs that were answered with a 5xx."""
    tracebacks: int = 0
    """In the log of a server that was started for the run."""
    probes: int = 0
    hangs: int = 0
    died: bool = False
    before: ProcessStats | None = None
    after: ProcessStats | None = None

    @property
    def server_errors(self) -> int:
        """Answers of 5xx, but for 504: an input may set a deadline that cannot be met."""
        return sum(n for status, n in self.statuses.items() if status >= 500 and status != 504)

    @property
    def rss_growth_mb(self) -> float:
        if self.before is None or self.after is None:
            return math.nan
        return (self.after.rss - self.before.rss) / 2**20

    def problems(self, bounds: FuzzBounds) -> list[str]:
        """Why the run failed; empty if it passed."""
        found = []
        if self.died:
            found.append("the server ended")
        if self.server_errors:
            found.append(f"{self.server_errors} answers of 5xx")
        if self.tracebacks:
            found.append(f"{self.tracebacks} tracebacks in the server's log")
        if self.hangs:
            found.append(f"{self.hangs} health probes without an answer in {HANG_SECONDS:g} s")
        if not self.statuses:
            found.append("no input was answered")
        if self.before is not None and self.after is not None:
            if self.rss_growth_mb > bounds.rss_mb:
                found.append(f"memory grew by {self.rss_growth_mb:.0f} MB")
            if (more := self.after.descriptors - self.before.descriptors) > bounds.descriptors:
                found.append(f"{more} descriptors were left open")
            if (more := self.after.threads - self.before.threads) > bounds.threads:
                found.append(f"{more} threads were left")
        return found


async def run_fuzz(
    target: TargetServer,
    clock: Clock,
    seconds: float,
    seed: int,
    out: Path,
    show: Callable[[FuzzRun], None] = lambda _: None,
) -> FuzzRun:
    """Send inputs for `seconds` and save those that fail under `out`.

    Raises `ClientError` if the server does not answer at the start.
    """
    run = FuzzRun()
    dim, model = await describe_model(target.url)
    begin = clock.monotonic()
    end = begin + seconds

    async def send_inputs(number: int) -> None:
        source = random.Random(f"{seed}-{number}")  # noqa: S311
        seeds = valid_requests(dim, model)
        while clock.monotonic() < end and not run.died:
            if source.random() < 0.6:
                kind, data = "bytes", mutate(source, seeds)
            else:
                kind, data = "tensors", odd_tensor_request(source, dim, model)
            run.inputs[kind] += 1
            # A refused connection is judged by the probes.
            with suppress(OSError):
                statuses = await exchange(target.url, data, source)
                run.statuses.update(statuses)
                if any(status >= 500 and status != 504 for status in statuses):
                    run.failures.append(_save(data, out))

    async def watch() -> None:
        while clock.monotonic() < end and not run.died:
            await probe(run, target)
            if run.before is None and clock.monotonic() > begin + _WARM_UP_SHARE * seconds:
                run.before = _process(target)
            show(run)
            await asyncio.sleep(_PROBE_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        for number in range(WORKERS):
            group.create_task(send_inputs(number))
    await asyncio.sleep(_QUIET_SECONDS)
    await probe(run, target)
    run.after = _process(target)
    return run


async def probe(run: FuzzRun, target: TargetServer) -> None:
    """Ask for liveness on a new connection."""
    client = HttpClient(target.url, timeout=HANG_SECONDS)
    run.probes += 1
    try:
        response = await client.request("GET", "/v2/health/live")
        run.hangs += response.status != 200
    except ClientError:
        run.hangs += 1
        run.died = target.pid is not None and _process(target) is None
    finally:
        client.close()


async def describe_model(url: str) -> tuple[int, str]:
    """The width of a vector and the name of the model. Raises `ClientError`."""
    client = HttpClient(url)
    try:
        models = (await client.request("GET", "/v2/models")).json()
        model = str(models["models"][0])  # type: ignore[index]
        metadata = (await client.request("GET", f"/v2/models/{model}")).json()
        return int(metadata["inputs"][0]["shape"][-1]), model  # type: ignore[index]
    except (LookupError, TypeError, ValueError) as error:
        raise ClientError(f"{url} does not describe its model: {error!r}") from error
    finally:
        client.close()


def _save(data: bytes, out: Path) -> Path:
    path = out / f"input-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    return path


def _process(target: TargetServer) -> ProcessStats | None:
    return None if target.pid is None else read_process(target.pid)
