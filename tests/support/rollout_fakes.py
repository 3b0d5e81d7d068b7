"""Fakes for the rollout: clock, versions, evidence, store, and a controller around them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.errors import VersionError
from service.manifest import Manifest
from service.metrics import Metrics, duration_buckets
from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.shadow_stats import ShadowStats, count_copy
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.analysis.verdict import Assessment, VerdictOutcome
from service.rollout.controller.controller import Controller
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.rollout.storage.database import Database
from service.rollout.storage.errors import StoreError
from service.rollout.storage.rollout_store import RolloutStore
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.rollout.storage.threaded_store import ThreadedRolloutStore
from tests.support.fakes import manifest_of

EDGES = duration_buckets(10.0)

QUICK = RolloutPlan.model_validate(
    {
        "steps": [
            {"weight": 10, "min_dwell_seconds": 10, "min_samples": 100},
            {"weight": 50, "min_dwell_seconds": 10, "min_samples": 100},
        ],
        "warm_up_seconds": 10,
        "warm_up_requests": 10,
        "settle_seconds": 5,
        "baseline_samples": 100,
        "deadline_seconds": 600,
        "pause_deadline_seconds": 3600,
    }
)


SHADOWED = RolloutPlan.model_validate(
    {
        **QUICK.model_dump(),
        "steps": [
            {"shadow": True, "min_dwell_seconds": 10, "min_samples": 100},
            *QUICK.model_dump()["steps"],
        ],
    }
)


def judgement(outcome: VerdictOutcome, canary: int = 1000, stable: int = 1000) -> Assessment:
    return Assessment(outcome, f"latency {outcome}: fixed by the test", "latency", canary, stable)


def bucket_counts(seconds: Sequence[float], faults: int = 0) -> Counts:
    """Durations in seconds, counted into the histogram buckets of `EDGES`."""
    counts = [0] * (len(EDGES) + 1)
    for duration in seconds:
        counts[next((i for i, e in enumerate(EDGES) if duration <= e), len(EDGES))] += 1
    return Counts(tuple(counts), faults)


class SteppingClock:
    """A clock that stands still until `now` is set. `wrong` is the error of its wall clock."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.wrong = 0.0

    def time(self) -> float:
        return self.now + self.wrong

    def monotonic(self) -> float:
        return self.now


class FakeVersions:
    """A repository with `phase-2` and `phase-3`; versions in `broken` fail to load."""

    def __init__(self) -> None:
        self.there = {"phase-2", "phase-3"}
        self.broken: set[str] = set()
        self.manifests = {name: manifest_of(name, 8, "f" * 64) for name in self.there}
        self.prepared: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def available(self) -> set[str]:
        return set(self.there)

    def digests(self) -> dict[str, str]:
        return dict.fromkeys(self.prepared, "f" * 64)

    async def manifest(self, version: str) -> Manifest:
        return self.manifests[version]

    async def prepare(self, version: str) -> None:
        await self.gate.wait()
        if version in self.broken or version not in self.there:
            raise VersionError(f"{version} is damaged; export it again")
        self.prepared.append(version)


class FakeEvidence:
    """Monotonic counters; `serve` adds requests with the given durations in seconds."""

    edges = EDGES

    def __init__(self) -> None:
        self.origin = "one"
        self.error: Exception | None = None
        self._zero()

    def _zero(self) -> None:
        blank = bucket_counts([])
        self.arms = {"step": CountsByArm(blank, blank)}

    def restart(self) -> None:
        self.origin += "'"
        self._zero()

    def serve(
        self,
        stable: Sequence[float] = (),
        canary: Sequence[float] = (),
        stable_faults: int = 0,
        canary_faults: int = 0,
    ) -> None:
        old = self.arms["step"]
        self.arms["step"] = CountsByArm(
            old.stable.plus(bucket_counts(stable, stable_faults)),
            old.canary.plus(bucket_counts(canary, canary_faults)),
        )

    async def read(self, stable: str, canary: str) -> Snapshot:
        if self.error is not None:
            raise self.error
        return Snapshot(self.origin, stable, canary, Counters(requests=dict(self.arms)))

    async def read_stable(self, stable: str) -> dict[str, Counts]:
        if self.error is not None:
            raise self.error
        return {mode: arms.stable for mode, arms in self.arms.items()}


class FakeShadow:
    """Shadow copies set by the test; `take` returns each once."""

    def __init__(self) -> None:
        self.seen = ShadowStats(EDGES)

    def ran(self, count: int = 1, *, faults: int = 0, ratio: float = 1.0) -> None:
        for _ in range(count):
            modes = count_copy(EDGES, "step", 0.01, 0.01 * ratio)
            self.seen = self.seen.plus(ShadowStats(EDGES, modes, answered=1, cosine_sum=0.9))
        self.seen = self.seen.plus(ShadowStats(EDGES, faults=faults))

    def take(self) -> ShadowStats:
        seen, self.seen = self.seen, ShadowStats(EDGES)
        return seen


class FlakyStore(SqliteRolloutStore):
    """A store that can fail as if the disk were full."""

    full = False

    def save(self, record, audit=(), responses=()):
        if self.full:
            raise StoreError("the disk is full")
        super().save(record, audit, responses)


class RolloutWorld:
    """A controller with its surroundings; `restart` is a `kill -9` and a new process."""

    def __init__(self, path: Path, plan: RolloutPlan = QUICK, stable: str = "phase-2") -> None:
        self.path, self.plan, self.stable = path, plan, stable
        self.clock = SteppingClock()
        self.versions = FakeVersions()
        self.evidence = FakeEvidence()
        self.shadow = FakeShadow()
        self.controller = self._boot()

    def _open(self) -> RolloutStore:
        self.store = FlakyStore(Database(self.path))
        return ThreadedRolloutStore(self.store)

    def _boot(self) -> Controller:
        self.port = self._open()
        self.traffic = TrafficRouter(TrafficSplit(self.stable))
        self.metrics = Metrics(CollectorRegistry(), 10.0)
        return Controller(
            traffic=self.traffic,
            versions=self.versions,
            evidence=self.evidence,
            store=self.port,
            metrics=self.metrics,
            clock=self.clock,
            stable=self.stable,
            plan=self.plan,
            interval_seconds=5.0,
            take_shadow_stats=self.shadow.take,
        )

    def use(self, chosen: RolloutPlan) -> None:
        """Replace the default plan, before the controller starts."""
        self.store.close()
        self.plan = chosen
        self.controller = self._boot()

    async def restart(self) -> None:
        self.store.close()
        self.evidence.restart()
        self.shadow = FakeShadow()
        self.controller = self._boot()
        await self.controller.start()

    async def tick(self, seconds: float = 5.0) -> dict:
        self.clock.now += seconds
        await self.controller.tick()
        return self.controller.status()

    async def begin(self) -> None:
        """Advance to the first step, after warm-up and settling."""
        await self.controller.start()
        await self.controller.changes.start("phase-3", None, "operator", "try it")
        await self.controller.prepared()
        await self.tick()
        for _ in range(4):
            self.evidence.serve([0.1] * 95 + [0.2] * 5, [0.1] * 19 + [0.2])
            await self.tick()
        assert self.controller.status()["phase"] == "Progressing"

    async def healthy_ticks(self, count: int) -> dict:
        for _ in range(count):
            self.evidence.serve([0.1] * 190 + [0.2] * 10, [0.1] * 200)
            await self.tick()
        return self.controller.status()

    async def slow_ticks(self, count: int) -> dict:
        for _ in range(count):
            self.evidence.serve([0.1] * 190 + [0.2] * 10, [0.4] * 50)
            await self.tick()
        return self.controller.status()

    @property
    def phase(self) -> str:
        return str(self.controller.status()["phase"])


def plan(**changes) -> RolloutPlan:
    """`QUICK` with some fields changed, validated."""
    return RolloutPlan.model_validate({**QUICK.model_dump(), **changes})
