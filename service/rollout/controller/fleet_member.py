"""This replica as a member of its fleet: it follows the record, and says how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from service.fleet.identity import FleetIdentity
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.controller import fleet_rules
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.fleet_news import FleetNews
from service.rollout.controller.store_clock import StoreClock
from service.rollout.controller.version_fetcher import VersionFetcher
from service.rollout.controller.versions import VersionsPort
from service.rollout.controller.weight_guard import WeightGuard
from service.rollout.state.events import LoadFailure, Phase, ReplicaDeaths
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import RecordConflict, StoreError
from service.rollout.storage.fleet_store import (
    LEASE_SECONDS,
    FleetStore,
    FleetView,
    ReplicaReport,
    SharedRolloutStore,
)
from service.rollout_metrics import FleetMetrics

log = logging.getLogger(__name__)

PULSE_SECONDS = 1.0
"""Between two pulses, if no notification comes."""

CHECK_SECONDS = 0.25
"""Between two checks whether the weight's lease has run out."""

EVIDENCE_SECONDS = 5.0
"""The longest time between two reports of evidence."""

LEASE_MARGIN_SECONDS = 1.0
"""A leader stops this long before its lease ends."""

STEADY_SECONDS = 15.0
"""So long must this replica have seen the fleet without a gap before it calls another one dead."""


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What a fleet needs beside what every rollout needs."""

    identity: FleetIdentity
    store: FleetStore
    shared: SharedRolloutStore
    clock: StoreClock
    reporter: EvidenceReporter
    metrics: FleetMetrics


class FleetMember:
    """The pulse of a replica, its copy of the record, and its share in the lead.

    It is a `FleetRole`. The canary's loader needs a role, so the loader comes with `join`.
    """

    shared = True

    def __init__(
        self,
        parts: FleetParts,
        executor: ChangeExecutor,
        versions: VersionsPort,
        news: FleetNews,
        interval_seconds: float,
    ) -> None:
        self.guard = WeightGuard(executor, parts.shared, parts.clock, interval_seconds)
        self.on_lead: Callable[[], None] = lambda: None
        self._parts = parts
        self._identity = parts.identity
        self._store = parts.store
        self._clock = parts.clock
        self._executor = executor
        self._versions = versions
        self._news = news
        self._interval = interval_seconds
        self._loss = ""
        self._loader: CanaryLoader | None = None
        self._fetcher: VersionFetcher | None = None
        self._view: FleetView | None = None
        self._steady_since = self._lease_until = parts.clock.monotonic()
        self._reported_at = self._steady_since - EVIDENCE_SECONDS
        self._wake = asyncio.Event()
        self._pulsed = asyncio.Event()
        self._stopping = False
        executor.traffic.can_serve = lambda version: version in versions.digests()

    # --- role ---

    @property
    def leads(self) -> bool:
        """Whether this replica holds the lease, and may rely on what it has read."""
        usable = self._parts.metrics.is_up and not self.guard.reason(leading=True)
        return usable and self.epoch is not None

    @property
    def epoch(self) -> int | None:
        """That of the lease; None without one."""
        if self._view is None or self._clock.monotonic() >= self._lease_until:
            return None
        return self._view.epoch

    async def wait_until_prepared(self, rollout: RolloutState) -> LoadFailure | None:
        """See `FleetRole`."""
        canary = rollout.canary
        assert canary is not None
        self._wake.set()  # report at once what is loaded
        while self._executor.rollout.generation == rollout.generation and not self._stopping:
            self._pulsed.clear()
            await self._pulsed.wait()
            if self._view is None or not self.leads:
                continue
            failure = fleet_rules.other_files(self._view, canary, self._versions.digests())
            if failure is not None or not fleet_rules.unprepared(self._view, canary):
                return failure
        return None

    # --- life ---

    async def join(self, configured: str, loader: CanaryLoader) -> RolloutRecord:
        """Connect, and return the fleet's record; the first replica writes it.

        `configured` is stable until a promotion is recorded. Raises `StoreError`.
        """
        self._loader = loader
        self._fetcher = VersionFetcher(self._executor, self._versions, loader, self._clock)
        await self._store.open()
        asked = self._clock.monotonic()
        self._clock.observe(await self._store.time(), asked, self._clock.monotonic())
        shared = self._parts.shared
        record = await shared.load()
        if record is None:
            with suppress(RecordConflict):
                await shared.save(RolloutRecord(RolloutState(configured)))
            record = await shared.load()
            assert record is not None
        if record.rollout.stable != configured:
            log.warning(
                "the fleet's stable version %s is used, not the configured %s",
                record.rollout.stable,
                configured,
            )
        self.guard.note_revision(shared.revision)
        await self._news.begin()
        self._store.on_change(self._wake.set)
        return record

    async def run(self) -> None:
        """Follow the record until `stop`. `join` and a first `pulse` come before."""
        watch = asyncio.create_task(self._watch(), name="weight-lease")
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PULSE_SECONDS)
            self._wake.clear()
            if self._stopping:
                break  # a pulse after the farewell would take it back
            try:
                await self.pulse()
            except StoreError as error:
                self.note_loss(error)
            except Exception:
                log.exception("the pulse failed unexpectedly; the next one follows")
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    def stop(self) -> None:
        """End `run`."""
        self._stopping = True
        self._wake.set()
        self._pulsed.set()

    async def leave(self) -> None:
        """Say farewell, so that another replica takes the lead at once."""
        if self._fetcher is not None:
            await self._fetcher.close()
        if self._view is None:
            return
        try:
            if self._parts.reporter.split is not None:
                await self._put_evidence()
            await self._store.depart(self._identity.boot)
        except StoreError as error:
            log.warning("cannot leave the fleet: %s", error)

    # --- pulse ---

    async def pulse(self) -> None:
        """Report, read, and follow what has changed. Raises `StoreError`."""
        assert self._fetcher is not None
        led = self._view is not None and self._view.epoch is not None
        asked = self._clock.monotonic()
        view = await self._store.pulse(self._report(self._fetcher.failure), lead=True)
        answered = self._clock.monotonic()
        self._clock.observe(view.now, asked, answered)
        async with self._executor.lock:
            await self._follow(view)
            self._view, self.guard.read_at = view, asked
            self._lease_until = asked + LEASE_SECONDS - LEASE_MARGIN_SECONDS
            self._executor.route()
        self._pulsed.set()
        self._publish(up=True)
        self._fetcher.note_other_files(view, self._identity.name)
        self._fetcher.fetch_missing()
        if view.epoch is not None and not led:
            log.info("this replica leads the fleet (lease %d)", view.epoch)
            self.on_lead()
        await self._news.send()
        await self._send_evidence()
        if self.leads and answered - self._steady_since >= STEADY_SECONDS:
            await self._judge_deaths(view)

    async def _follow(self, view: FleetView) -> None:
        """Make the stored record the current one. The caller holds the executor's lock."""
        if not self._executor.recorded:
            await self._executor.retry_save()
        shared, loader = self._parts.shared, self._loader
        newest = fleet_rules.newest_revision(view)
        if newest > view.revision:
            self.guard.note_revision(newest)  # a backup was restored
        # Any other newer revision is noted with its record: while that is being read, the one in
        # memory is older without a restore.
        if view.revision != shared.revision and self._executor.recorded:
            before = shared.revision
            await self._executor.reload()
            if shared.revision < before:
                await self._news.begin()  # a backup was restored, with its audit log
            self._news.send_status()
        self.guard.note_revision(shared.revision)
        self._executor.follow_clock()
        rollout = self._executor.rollout
        assert loader is not None
        stale = loader.idle or loader.generation != rollout.generation
        if rollout.phase is Phase.PENDING and stale:
            loader.begin()

    def _report(self, failure: str) -> ReplicaReport:
        return ReplicaReport(
            self._identity.boot,
            self._identity.replica,
            max(self.guard.seen_revision, self._parts.shared.revision),
            self._versions.digests(),
            failure,
        )

    async def _send_evidence(self) -> None:
        reporter, now = self._parts.reporter, self._clock.monotonic()
        split = self._executor.rollout.split()
        if split != reporter.split:
            await reporter.follow(split)
        elif now - self._reported_at < min(EVIDENCE_SECONDS, self._interval):
            return
        await self._put_evidence()
        self._reported_at = now

    async def _put_evidence(self) -> None:
        await self._store.put_evidence(self._identity.boot, await self._parts.reporter.report())

    async def _judge_deaths(self, view: FleetView) -> None:
        rollout = self._executor.rollout
        deaths = fleet_rules.unexpected_deaths(view, rollout)
        if len(deaths) < fleet_rules.DEATHS or rollout.phase is Phase.PAUSED:
            return
        async with self._executor.lock:
            if self._executor.rollout == rollout:
                message = fleet_rules.describe_deaths(deaths, rollout)
                with suppress(RecordConflict):
                    await self._executor.apply(ReplicaDeaths(message), epoch=self.epoch)

    # --- while the store is away ---

    async def _watch(self) -> None:
        """Withhold the canary when the lease has run out. Nothing else would, so this goes on
        whatever fails."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                self.guard.check()
                self._publish()
            except Exception:
                log.exception("the weight's lease could not be checked; the next check follows")

    def note_loss(self, error: StoreError) -> None:
        """A pulse has failed. Each reason is logged once: the next one may need another remedy."""
        self._steady_since = self._clock.monotonic()
        if self._parts.metrics.is_up or str(error) != self._loss:
            log.error("the fleet's store does not answer: %s", error)
        self._loss = str(error)
        self._publish(up=False)

    # --- reading ---

    def _publish(self, *, up: bool | None = None) -> None:
        self._parts.metrics.publish(
            up=up,
            leads=self.epoch is not None,
            revision=self._parts.shared.revision,
            unread_seconds=self.guard.unread_seconds,
            replicas=len(self.living()),
            withheld=self._executor.traffic.withholds,
            outdated=self.guard.outdated,
        )

    def living(self) -> tuple[str, ...]:
        """The boots of the living replicas."""
        entries = () if self._view is None else fleet_rules.living(self._view)
        return tuple(each.report.boot for each in entries)

    def status(self) -> dict[str, object]:
        """The fleet as JSON: this replica, the leader, and every living replica."""
        failure = "" if self._fetcher is None else self._fetcher.failure
        return {
            "name": self._identity.name,
            "replica": self._identity.replica,
            "withheld": self.guard.reason() or failure or None,
            **fleet_rules.describe_fleet(self._view),
        }
