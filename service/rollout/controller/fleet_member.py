"""This replica as a member of its fleet: it follows the record, and says how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from service.errors import NextvecError
from service.fleet.identity import FleetIdentity
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.controller import fleet_rules
from service.rollout.controller.canary_loader import CanaryLoader
from service.rollout.controller.executor import ChangeExecutor
from service.rollout.controller.store_clock import StoreClock
from service.rollout.controller.versions import VersionsPort
from service.rollout.controller.weight_lease import LeaseState, withhold_reason
from service.rollout.notifications.event_feed import EventFeed
from service.rollout.state.events import LIVE, LoadFailure, Phase, ReplicaDeaths
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
"""Between two looks at whether the weight's lease has run out."""

EVIDENCE_SECONDS = 5.0
"""The longest time between two reports of evidence."""

LEASE_MARGIN_SECONDS = 1.0
"""A leader stops this long before its lease ends."""

RELOAD_SECONDS = 10.0
"""Between two tries to load a version that could not be loaded."""

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
    """The pulse of a replica, its copy of the record, and its share in the lead. A `FleetRole`."""

    shared = True

    def __init__(
        self,
        parts: FleetParts,
        executor: ChangeExecutor,
        versions: VersionsPort,
        feed: EventFeed,
        interval_seconds: float,
    ) -> None:
        self._parts = parts
        self._identity = parts.identity
        self._store = parts.store
        self._clock = parts.clock
        self._executor = executor
        self._versions = versions
        self._feed = feed
        self._interval = interval_seconds
        self._loader: CanaryLoader | None = None
        self.on_lead: Callable[[], None] = lambda: None
        self._view: FleetView | None = None
        self._read_at = parts.clock.monotonic()
        self._steady_since = self._read_at
        self._lease_until = self._read_at
        self._reported_at = self._read_at - EVIDENCE_SECONDS
        self._seen_revision = 0
        self._last_row = 0
        self._reason = ""
        self._failure = ""
        self._failed_at = -RELOAD_SECONDS
        self._fetching: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._pulsed = asyncio.Event()
        self._stopping = False
        executor.withheld = self.withhold_reason
        executor.can_serve = lambda version: version in versions.digests()

    # --- role ---

    @property
    def leads(self) -> bool:
        """Whether this replica holds the lease, and may rely on what it has read."""
        return self.epoch is not None and not self.withhold_reason(leading=True)

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
        self._last_row = await self._store.last_row()
        self._seen_revision = shared.revision
        self._store.on_change(self._wake.set)
        return record

    async def begin(self) -> None:
        """Appear in the list of replicas: what is to be served is loaded. Raises `StoreError`."""
        await self.pulse()

    async def run(self) -> None:
        """Follow the record until `leave`."""
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
                self._note_loss(error)
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
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        if self._view is not None:
            try:
                if self._parts.reporter.split is not None:
                    report = await self._parts.reporter.report()
                    await self._store.put_evidence(self._identity.boot, report)
                await self._store.depart(self._identity.boot)
            except StoreError as error:
                log.warning("cannot leave the fleet: %s", error)

    # --- pulse ---

    async def pulse(self) -> None:
        """Report, read, and follow what has changed. Raises `StoreError`."""
        led = self._view is not None and self._view.epoch is not None
        asked = self._clock.monotonic()
        view = await self._store.pulse(self._report(), lead=True)
        answered = self._clock.monotonic()
        self._clock.observe(view.now, asked, answered)
        async with self._executor.lock:
            await self._follow(view)
            self._view, self._read_at = view, asked
            self._lease_until = asked + LEASE_SECONDS - LEASE_MARGIN_SECONDS
            self._executor.route()
        self._pulsed.set()
        self._publish(up=True)
        self._load_what_is_missing()
        if view.epoch is not None and not led:
            log.info("this replica leads the fleet (lease %d)", view.epoch)
            self.on_lead()
        await self._send_news()
        await self._send_evidence()
        if self.leads and answered - self._steady_since >= STEADY_SECONDS:
            await self._judge_deaths(view)

    async def _follow(self, view: FleetView) -> None:
        """Make the stored record the current one. The caller holds the executor's lock."""
        if not self._executor.recorded:
            await self._executor.retry_save()
        shared = self._parts.shared
        self._seen_revision = max(
            self._seen_revision, shared.revision, fleet_rules.newest_revision(view)
        )
        shared.note_revision(self._seen_revision)
        if view.revision != shared.revision and self._executor.recorded:
            await self._executor.reload()
            self._feed.send("look", self._executor.status())
        self._seen_revision = max(self._seen_revision, shared.revision)
        loader, generation = self._loader, self._executor.rollout.generation
        assert loader is not None
        if self._executor.rollout.phase is Phase.PENDING and (
            loader.idle or loader.generation != generation
        ):
            loader.begin()

    def _report(self) -> ReplicaReport:
        return ReplicaReport(
            self._identity.boot,
            self._identity.replica,
            max(self._seen_revision, self._parts.shared.revision),
            self._versions.digests(),
            self._failure,
        )

    async def _send_news(self) -> None:
        """Tell this replica's subscribers what other replicas have changed."""
        rows = await self._store.rows_after(self._last_row)
        for row in rows:
            self._last_row = int(str(row["id"]))
            if int(str(row["generation"])) > self._executor.told_generation:
                self._executor.told_generation = int(str(row["generation"]))
                log.info(
                    "rollout, by another replica: %s -> %s (%s): %s",
                    row["from"],
                    row["to"],
                    row["reason"],
                    row["message"],
                )
                self._feed.send("transition", {k: v for k, v in row.items() if k != "id"})

    async def _send_evidence(self) -> None:
        reporter, now = self._parts.reporter, self._clock.monotonic()
        split = self._executor.rollout.split()
        if split != reporter.split:
            await reporter.follow(split)
        elif now - self._reported_at < min(EVIDENCE_SECONDS, self._interval):
            return
        await self._store.put_evidence(self._identity.boot, await reporter.report())
        self._reported_at = now

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

    # --- versions ---

    def _load_what_is_missing(self) -> None:
        """Load what the record gives requests to, in the background."""
        rollout, there = self._executor.rollout, self._versions.digests()
        wanted = [rollout.stable]
        if rollout.canary is not None and rollout.phase in LIVE | {Phase.PROMOTING}:
            wanted.append(rollout.canary)
        missing = [version for version in wanted if version not in there]
        waiting = self._clock.monotonic() - self._failed_at < RELOAD_SECONDS
        if not missing:
            self._failure = ""
        elif (self._fetching is None or self._fetching.done()) and not waiting:
            self._fetching = asyncio.create_task(self._fetch(missing[0]), name="fetch-version")

    async def _fetch(self, version: str) -> None:
        try:
            await self._versions.prepare(version)
        except NextvecError as error:
            self._failure, self._failed_at = str(error), self._clock.monotonic()
            log.error("this replica cannot serve %s, and withholds it: %s", version, error)  # noqa: TRY400  its text says all
            return
        async with self._executor.lock:
            assert self._loader is not None
            self._loader.expect_metrics(self._executor.rollout)
            self._executor.route()

    # --- the weight as a lease ---

    def withhold_reason(self, *, leading: bool = False) -> str:
        """Why the canary must not have traffic here; blank if it may. A leader evaluates again
        after a time without evaluations, so for `leading` these do not count."""
        now = self._clock.time()
        record = self._executor.record
        return withhold_reason(
            record,
            LeaseState(
                unread_seconds=self._clock.monotonic() - self._read_at,
                now=(record.seen_at or now) if leading else now,
                interval=self._interval,
                revision=self._parts.shared.revision,
                seen_revision=self._seen_revision,
            ),
        )

    def check_lease(self) -> None:
        """Take the canary's traffic away, or give it back, as the lease says now."""
        reason = self.withhold_reason()
        if reason != self._reason:
            if bool(reason) != bool(self._reason):
                if reason:
                    log.error("the canary is withheld on this replica: %s", reason)
                else:
                    log.warning("the canary is no longer withheld on this replica")
            self._reason = reason
        self._executor.route()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check_lease()
            self._publish()

    def _note_loss(self, error: StoreError) -> None:
        self._steady_since = self._clock.monotonic()
        if self._parts.metrics.is_up:
            log.error("the fleet's store does not answer: %s", error)
        self._publish(up=False)

    # --- reading ---

    def _publish(self, *, up: bool | None = None) -> None:
        self._parts.metrics.publish(
            up=up,
            leads=self.epoch is not None,
            revision=self._parts.shared.revision,
            unread_seconds=self._clock.monotonic() - self._read_at,
            replicas=0 if self._view is None else len(fleet_rules.living(self._view)),
            withheld=self._executor.withholds,
            outdated=self._parts.shared.revision < self._seen_revision,
        )

    def living(self) -> tuple[str, ...]:
        """The boots of the living replicas."""
        entries = () if self._view is None else fleet_rules.living(self._view)
        return tuple(each.report.boot for each in entries)

    def status(self) -> dict[str, object]:
        """The fleet as JSON: this replica, the leader, and every living replica."""
        view = self._view
        entries = () if view is None else fleet_rules.living(view)
        leader = None if view is None else view.leader
        names = {each.report.boot: each.report.replica for each in entries}
        return {
            "name": self._identity.name,
            "replica": self._identity.replica,
            "leader": None if leader is None else names.get(leader),
            "withheld": self.withhold_reason() or self._failure or None,
            "replicas": [
                {
                    "name": each.report.replica,
                    "boot": each.report.boot,
                    "seen": each.seen,
                    "revision": each.report.revision,
                    "versions": sorted(each.report.versions),
                    "failure": each.report.failure or None,
                }
                for each in entries
            ],
        }
