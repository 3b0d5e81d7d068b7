"""The rollout's shell, and its only ticker: looks, asks the pure parts, acts, records.

Order of effects. A weight is lowered in memory first and recorded then; it is
recorded first and raised then. So after a crash there is never more weight than
the record says, and a record that cannot be written never keeps a bad canary in
traffic. An abort takes the weight away before it even waits for its turn.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from service.clock import Clock
from service.errors import (
    Invalid,
    NextvecError,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
)
from service.metrics import Metrics
from service.rollout import gate, gauges
from service.rollout.asking import PLAINLY, Answered, Terms, foresee
from service.rollout.database import StoreError
from service.rollout.events import (
    FINAL,
    LIVE,
    Abort,
    Applied,
    Event,
    Pause,
    Phase,
    Prepared,
    PrepareFailed,
    Promote,
    Reason,
    Resume,
    Start,
    Tick,
    Transition,
    Undo,
    Verb,
)
from service.rollout.evidence import EvidenceSource
from service.rollout.feed import Feed
from service.rollout.looking import judged, measure
from service.rollout.plan import Plan
from service.rollout.recovery import recover
from service.rollout.rollout import Rollout, legal_verbs, refuse
from service.rollout.shadowed import Shadowed
from service.rollout.state import advance
from service.rollout.status import guardrails, status
from service.rollout.store import (
    AuditRow,
    Record,
    Store,
    audit_row,
)
from service.rollout.traffic import Assignment, Traffic
from service.rollout.verdict import Judgement
from service.rollout.versions import VersionsPort
from service.types import Variant

log = logging.getLogger(__name__)

T = TypeVar("T")


class Controller:
    """One per service. `stable` is the configured version, used until a promotion is
    recorded; `plan` is that of a start which brings none; `on_record` is called when the
    audit log has grown; `shadows` is what `measure` takes."""

    def __init__(  # noqa: PLR0913 - the composition root hands in every part by name
        self,
        *,
        traffic: Traffic,
        versions: VersionsPort,
        evidence: EvidenceSource,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        stable: str,
        plan: Plan,
        interval_seconds: float,
        on_record: Callable[[], None] = lambda: None,
        shadows: Callable[[], Shadowed] | None = None,
    ) -> None:
        self._traffic = traffic
        self._versions = versions
        self._evidence = evidence
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._configured = stable
        self._plan = plan
        self._interval = interval_seconds
        self._on_record = on_record
        self._shadows = shadows
        self._record = Record(Rollout(stable))
        self._verdict: Judgement | None = None
        self._started_at = clock.time()
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        self._loading: asyncio.Task[None] | None = None
        self._aborts = 0
        self._unsaved: list[AuditRow] = []
        self._unsaid: list[Answered] = []
        self._recorded = True
        self._feed = Feed()
        gauges.create(metrics)

    # --- life ---

    async def start(self) -> None:
        """Take up where the record ends; sets the traffic.

        Raises `VersionError` or `NotFound` when stable cannot be served, and
        `StoreError` when the file cannot be opened at all. A file that opens and
        cannot be read is kept aside: everything then goes to stable.
        """
        self._started_at = self._clock.time()
        self._record = await asyncio.to_thread(
            recover, self._store, self._configured, self._started_at
        )
        self._verdict = judged(self._record)
        rollout = self._record.rollout
        await self._versions.prepare(rollout.stable)
        self._expect(rollout)
        async with self._lock:
            if rollout.phase is Phase.ABORTING:
                await self._enter(rollout, [], [])
            elif rollout.phase in LIVE | {Phase.PROMOTING}:
                failed = await self._prepare(rollout)
                if failed is not None:
                    await self._apply(failed)
                elif rollout.phase is Phase.PROMOTING:
                    await self._enter(rollout, [], [])
            self._direct()
            self._publish()
        if rollout.phase is Phase.PENDING:
            self._load_in_background()

    async def run(self) -> None:
        """A look every interval, until `close`. A look that raises is logged; the
        next one is taken all the same."""
        while not self._closing.is_set():
            try:
                await self.tick()
            except Exception:
                log.exception("a look at the evidence failed; the next follows")
            try:
                await asyncio.wait_for(self._closing.wait(), self._interval)
            except TimeoutError:
                continue

    def hang_up(self) -> None:
        """End the subscriptions; rollouts go on."""
        self._feed.close()

    async def close(self) -> None:
        """End `run` and the subscribers, and let go of the store's file."""
        self._closing.set()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        async with self._lock:
            self._feed.close()
            await asyncio.to_thread(self._store.close)

    # --- looking ---

    async def tick(self) -> None:
        """One look: measure, judge, move. Never half done, even if it is cancelled."""
        await _whole(self._tick())

    async def _tick(self) -> None:
        before = self._record
        phase = before.rollout.phase
        if phase is Phase.PENDING and (self._loading is None or self._loading.done()):
            self._load_in_background()
        if phase not in LIVE:
            async with self._lock:
                if not self._recorded and not self._closing.is_set():
                    await self._keep([])
            return
        measured, verdict, requests = await measure(
            self._evidence,
            before,
            now=self._clock.time(),
            started_at=self._started_at,
            shadows=self._shadows,
        )
        async with self._lock:
            if self._record is not before or self._closing.is_set():
                return  # measured across a change: the next look counts it instead
            self._record, self._verdict = measured, verdict
            await self._apply(Tick(verdict, requests))
            self._publish()
            self._feed.send("look", self.status())

    # --- verbs ---
    #
    # By its `terms` a verb only says what would happen, or is answered again as it was.
    # All raise `Conflict` where they are not legal, `PreconditionRequired` or
    # `PreconditionFailed` for the generation, `Invalid` for the key of another call, and
    # `StoreError`; then nothing has changed.

    async def start_rollout(
        self,
        canary: str,
        plan: Plan | None,
        actor: str,
        reason: str = "",
        expected_generation: int | None = None,
        terms: Terms = PLAINLY,
        *,
        override_gate: bool = False,
    ) -> dict[str, object]:
        """Begin: answers at once in `Pending`, loading goes on in the background.

        A plan's gate can be stricter than that of the service's own plan, not looser.
        `override_gate` starts a canary that misses it; what it misses is recorded.
        Raises `Conflict` with code `gate_missed` for the gate, and `Invalid` (canary is
        stable), `NotFound` (not in the repository) and `VersionError` (its manifest is
        damaged) as well.
        """

        def event(_: Rollout) -> Start:
            return Start(canary, plan or self._plan, secrets.token_hex(16), actor, reason)

        return await _whole(
            self._begin(event, expected_generation, terms, override_gate=override_gate)
        )

    async def retry(
        self, expected_generation: int | None, actor: str, reason: str = "", terms: Terms = PLAINLY
    ) -> dict[str, object]:
        """The canary that was rolled back, with its plan, once more. Raises as a start."""

        def event(last: Rollout) -> Start:
            self._check(expected_generation)
            refuse(last, Verb.RETRY)
            assert last.canary is not None
            assert last.plan is not None
            return Start(last.canary, last.plan, secrets.token_hex(16), actor, reason, retry=True)

        return await _whole(self._begin(event, expected_generation, terms))

    async def _begin(
        self,
        event: Callable[[Rollout], Start],
        expected: int | None,
        terms: Terms,
        *,
        override_gate: bool = False,
    ) -> dict[str, object]:
        async with self._lock:
            if (said := await self._said(terms)) is not None:
                return said
            if expected is not None:
                self._check(expected)
            rollout = self._record.rollout
            start = event(rollout)
            refuse(rollout, Verb.START)
            if start.canary == rollout.stable:
                raise Invalid(
                    f"canary: {start.canary} is stable already; name another version", "canary"
                )
            available = self._versions.available()
            if start.canary not in available:
                there = ", ".join(sorted(available - {rollout.stable})) or "none"
                raise NotFound(
                    f"{start.canary} is not in the repository; to choose from: {there}",
                    "version_not_found",
                )
            start = replace(start, plan=start.plan.with_floor(self._plan.gate))
            missed = await self._missed(start.plan, start.canary)
            if missed and not override_gate:
                raise gate.refusal(start.canary, missed)
            return await self._ask(replace(start, missed=missed), terms)

    async def _missed(self, plan: Plan, canary: str) -> tuple[gate.Miss, ...]:
        if plan.gate is None:
            return ()
        stable = await self._versions.manifest(self._record.rollout.stable)
        return gate.missed(plan.gate, stable, await self._versions.manifest(canary))

    async def promote(
        self,
        expected_generation: int | None,
        actor: str,
        reason: str = "",
        terms: Terms = PLAINLY,
        *,
        force: bool = False,
    ) -> dict[str, object]:
        """Go-ahead for the present step: the next one, or promotion from the last.

        Raises `Conflict` with code `guardrails_not_passed` before they have,
        unless forced; the audit log then says so.
        """
        event = Promote(actor, reason, force)
        return await _whole(self._verb(event, expected_generation, terms))

    async def pause(
        self, expected_generation: int | None, actor: str, reason: str = "", terms: Terms = PLAINLY
    ) -> dict[str, object]:
        """Hold the weight; guardrails go on."""
        return await _whole(self._verb(Pause(actor, reason), expected_generation, terms))

    async def resume(
        self, expected_generation: int | None, actor: str, reason: str = "", terms: Terms = PLAINLY
    ) -> dict[str, object]:
        """End a pause, but for one that waits for approval: that needs a promote."""
        return await _whole(self._verb(Resume(actor, reason), expected_generation, terms))

    async def undo(
        self, expected_generation: int | None, actor: str, reason: str = "", terms: Terms = PLAINLY
    ) -> dict[str, object]:
        """Bring back what was stable before the last promotion, all at once."""
        return await _whole(self._verb(Undo(actor, reason), expected_generation, terms))

    async def abort(
        self,
        expected_generation: int | None,  # noqa: ARG002 - one signature for all verbs
        actor: str,
        reason: str = "",
        terms: Terms = PLAINLY,
    ) -> dict[str, object]:
        """Take the canary out, whatever else is going on and whatever was read before.

        A call that was answered before is answered again only when there is nothing left
        to abort: a key must not keep a canary in traffic.
        """
        event = Abort(actor, reason)
        if Verb.ABORT not in legal_verbs(self._record.rollout):
            if (said := await self._said(terms)) is not None:
                return said
            refuse(self._record.rollout, Verb.ABORT)
        if terms.dry_run:
            async with self._lock:
                return await self._ask(event, terms)
        self._aborts += 1
        self._traffic.set(Assignment(self._record.rollout.stable))
        return await _whole(self._abort(event, terms))

    async def _abort(self, event: Abort, terms: Terms) -> dict[str, object]:
        try:
            async with self._lock:
                if self._record.rollout.phase is not Phase.ROLLED_BACK:
                    return await self._ask(event, terms)
        finally:
            self._aborts -= 1
            self._direct()
        return self.status()

    async def _verb(
        self, event: Promote | Pause | Resume | Undo, expected: int | None, terms: Terms
    ) -> dict[str, object]:
        async with self._lock:
            if (said := await self._said(terms)) is not None:
                return said
            self._check(expected)
            return await self._ask(event, terms)

    async def _said(self, terms: Terms) -> dict[str, object] | None:
        """What this call was answered before, if it was."""
        call = terms.call
        if call is None or terms.dry_run:
            return None
        found = await asyncio.to_thread(self._store.answered, call.actor, call.key)
        return None if found is None else found.again(call)

    async def _ask(self, event: Event, terms: Terms) -> dict[str, object]:
        """Do it, or say what would come of it; with the lock held."""
        rollout, moves = foresee(self._record.rollout, event, self._clock.time())
        record = _carried(self._record, event, rollout)
        answer = status(record, judged(record), recorded=True)
        if terms.dry_run:
            return {**answer, "dry_run": True, "transitions": [audit_row(m, []) for m in moves]}
        answers = [] if terms.call is None else [Answered(terms.call, answer)]
        await self._apply(event, answers)
        return answer if answers else self.status()

    def _check(self, expected: int | None) -> None:
        present = self._record.rollout.generation
        if expected is None:
            raise PreconditionRequired(
                f'send If-Match with the generation you have seen; it is "{present}" now'
            )
        if expected != present:
            raise PreconditionFailed(
                f"the rollout has moved on from generation {expected} to {present}; look again"
            )

    # --- reading ---

    @property
    def generation(self) -> int:
        """Rises with every transition: the `ETag`."""
        return self._record.rollout.generation

    def status(self) -> dict[str, object]:
        """See `service.rollout.status`."""
        return status(self._record, self._verdict, recorded=self._recorded)

    async def history(self, limit: int = 100) -> list[AuditRow]:
        """The audit log, newest first. Raises `StoreError`."""
        return await asyncio.to_thread(self._store.history, limit)

    def subscribe(self) -> AsyncIterator[dict[str, object]]:
        """The present status, then every look and transition, until `close`."""
        return self._feed.subscribe(lambda: {"event": "status", "data": self.status()})

    # --- moving; with the lock held ---

    async def _apply(self, event: Event, answers: Sequence[Answered] = ()) -> None:
        """Move, record it, and act on it. `answers` are kept in the same transaction."""
        rollout, transition = advance(self._record.rollout, event, self._clock.time())
        if transition is None:
            self._record = replace(self._record, rollout=rollout)
            await self._keep([])
            return
        fresh = isinstance(event, Start | Undo)
        rows = [
            audit_row(transition, [], rollout.missed)
            if fresh
            else audit_row(transition, guardrails(self._verdict))
        ]
        if rollout.phase is Phase.ABORTING:
            await self._enter(rollout, [transition], rows, answers)
            return
        record = _carried(self._record, event, rollout)
        await self._save(record, rows, answers)
        self._record, self._verdict = record, judged(record)
        self._announce([transition], rows)
        if rollout.phase is Phase.PENDING:
            self._load_in_background()
        if rollout.phase is Phase.PROMOTING and not self._aborts:
            await self._enter(rollout, [], [])
        self._direct()

    async def _enter(
        self,
        rollout: Rollout,
        moves: list[Transition],
        rows: list[AuditRow],
        answers: Sequence[Answered] = (),
    ) -> None:
        """Finish `Aborting` or `Promoting`: traffic first, then the record."""
        final, applied = advance(rollout, Applied(), self._clock.time())
        assert applied is not None
        self._record = replace(self._record, rollout=final)
        self._direct()
        rows = [*rows, audit_row(applied, [])]
        await self._keep(rows, answers)
        self._announce([*moves, applied], rows)

    def _direct(self) -> None:
        """Traffic as the record says; none to the canary while an abort waits."""
        rollout = self._record.rollout
        self._traffic.set(Assignment(rollout.stable) if self._aborts else rollout.assignment())

    async def _save(
        self, record: Record, rows: Sequence[AuditRow], answers: Sequence[Answered] = ()
    ) -> None:
        rows, answers = [*self._unsaved, *rows], [*self._unsaid, *answers]
        await asyncio.to_thread(self._store.save, record, rows, answers)
        self._unsaved, self._unsaid, self._recorded = [], [], True
        if rows:
            self._on_record()

    async def _keep(self, rows: Sequence[AuditRow], answers: Sequence[Answered] = ()) -> None:
        """Record what has taken effect already. If that fails the service goes on
        from memory, says so, and tries again at the next look."""
        try:
            await self._save(self._record, rows, answers)
        except StoreError:
            self._unsaved, self._unsaid = [*self._unsaved, *rows], [*self._unsaid, *answers]
            self._recorded = False
            log.exception("the rollout could not be recorded; it goes on from memory")

    def _announce(self, moves: Sequence[Transition], rows: Sequence[AuditRow]) -> None:
        for move in moves:
            log.warning(
                "rollout: %s -> %s (%s): %s", move.source, move.target, move.reason, move.message
            )
        gauges.count(self._metrics, moves)
        self._publish()
        for row in rows:
            self._feed.send("transition", row)

    def _publish(self) -> None:
        gauges.publish(self._metrics, self._record.rollout, self._verdict)

    # --- loading and recovering ---

    async def prepared(self) -> None:
        """Wait for the load that a start or an undo began."""
        if self._loading is not None:
            await asyncio.gather(self._loading, return_exceptions=True)

    def _load_in_background(self) -> None:
        self._loading = asyncio.create_task(self._load(self._record.rollout))

    async def _load(self, rollout: Rollout) -> None:
        failed = await self._prepare(rollout)
        async with self._lock:
            if self._record.rollout.generation != rollout.generation:
                return  # aborted in the meantime
            try:
                await self._apply(failed or Prepared())
            except StoreError:
                log.exception("the loaded canary could not be recorded; trying again")

    async def _prepare(self, rollout: Rollout) -> PrepareFailed | None:
        assert rollout.canary is not None
        try:
            await self._versions.prepare(rollout.canary)
            # Again, of what is really loaded: files may have changed since the start.
            if rollout.plan is not None and not rollout.missed:
                missed = await self._missed(rollout.plan, rollout.canary)
                if missed:
                    return PrepareFailed(gate.in_words(missed), Reason.GATE_MISSED)
        except NextvecError as error:
            return PrepareFailed(f"{rollout.canary} cannot be served: {error}")
        except Exception as error:
            log.exception("%s cannot be loaded", rollout.canary)
            return PrepareFailed(f"{rollout.canary} cannot be loaded: {error!r}")
        self._expect(rollout)
        return None

    def _expect(self, rollout: Rollout) -> None:
        """Label sets at 0 before their first event, for both roles a version may take."""
        pairs = [(Variant.STABLE, rollout.stable)]
        if rollout.canary is not None and rollout.phase not in FINAL:
            pairs += [(Variant.CANARY, rollout.canary), (Variant.STABLE, rollout.canary)]
        self._metrics.expect(pairs)


def _carried(record: Record, event: Event, rollout: Rollout) -> Record:
    """The record after `event` has led to `rollout`: what of the evidence goes on."""
    if isinstance(event, Start | Undo):
        return Record(rollout)
    raised = rollout.phase is Phase.PROGRESSING and rollout.step != record.rollout.step
    if raised and record.evidence is not None:
        return replace(record, rollout=rollout, evidence=record.evidence.next_step())
    return replace(record, rollout=rollout)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end even if the caller goes away: no move is left half made."""
    return await asyncio.shield(asyncio.ensure_future(work))
