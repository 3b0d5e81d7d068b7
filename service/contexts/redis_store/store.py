"""Sessions in a Redis or Valkey server; this process's memory is a cache of them."""

from __future__ import annotations

from service.bounded_store import BoundedStore
from service.clock import Clock
from service.contexts.history import History
from service.contexts.redis_store.append_write import AppendAhead, SharedAppend
from service.contexts.redis_store.backlog import Backlog
from service.contexts.redis_store.checkpoint import encode_checkpoint
from service.contexts.redis_store.claim import (
    adopt,
    begin_empty,
    may_begin,
    parse_claim,
    variant_of,
)
from service.contexts.redis_store.enlistment import FleetEnlistment
from service.contexts.redis_store.held_session import HeldSession
from service.contexts.redis_store.owner_sessions import OwnerSessions
from service.contexts.redis_store.session_calls import SessionCalls
from service.contexts.redis_store.store_errors import caller_error, check_status
from service.contexts.session import AppendPlan, Session
from service.contexts.session_lease import LeaseRequest, SessionLease
from service.contexts.session_quota import SessionQuota
from service.contexts.session_store import (
    MAX_USERS,
    SessionStart,
    SessionSummary,
    unknown_session,
)
from service.errors import Gone, NotFound, QueueFull, StoreUnavailable
from service.redis.failures import RedisFailureError
from service.rollout.routing.traffic_split import Route
from service.session_metrics import SessionStoreMetrics

CHECKPOINT_VECTORS = 32
"""Vectors between two checkpoints of a session's states: a takeover reads at most these again."""

CONFIRM_SECONDS = 2.0
"""How long an answer may go ahead of the store after the store has last confirmed the claim. A
replica that was stopped for longer asks first."""


class RedisSessionStore:
    """Sessions that outlive their replica. See docs/explanation/sessions-in-a-fleet.md.

    `max_bytes` bounds the copies in memory. `wait_for_store` (durability sync) answers when the
    store has the vectors; otherwise they are stored after the answer, which must be known to
    continue a session that is still this replica's. `serve_without_store` goes on with sessions in
    memory while the store is down.
    """

    def __init__(
        self,
        calls: SessionCalls,
        enlistment: FleetEnlistment,
        clock: Clock,
        metrics: SessionStoreMetrics,
        *,
        max_bytes: int,
        max_backlog: int,
        wait_for_store: bool,
        serve_without_store: bool,
    ) -> None:
        self._calls = calls
        self._enlistment = enlistment
        self._clock = clock
        self._metrics = metrics
        self._wait_for_store = wait_for_store
        self._serve_without_store = serve_without_store
        self._owners = OwnerSessions(calls, clock)
        self._backlog = Backlog(calls, clock, metrics, max_backlog)
        self._sessions: BoundedStore[str, HeldSession] = BoundedStore(
            max_size=max_bytes,
            max_age=calls.form.ttl_seconds,
            is_pinned=lambda session: session.users > 0 or session.backlog > 0,
        )
        # Copies that are not kept yet, or not any more, and that appends use.
        self._used: dict[str, HeldSession] = {}
        calls.client.on_up.append(self._backlog.write_all)
        metrics.watch(lambda: calls.client.up, lambda: self._backlog.vectors)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Memory of the copies."""
        return self._sessions.size

    @property
    def backlog_vectors(self) -> int:
        """Vectors that are answered and not stored yet."""
        return self._backlog.vectors

    async def close(self) -> None:
        """Write what is not stored yet, and disconnect."""
        await self._enlistment.close()
        await self._backlog.drain_all(self._calls.client.timeout_seconds * 4)
        await self._calls.client.close()

    def use(
        self,
        session_id: str,
        position: int | None,
        begin: SessionStart = SessionStart.IF_UNKNOWN,
        owner: SessionQuota | None = None,
    ) -> SessionLease[HeldSession]:
        """Lock the session, and claim it unless this replica holds it; see `SessionStore.use`."""
        return SessionLease(self, LeaseRequest(session_id, position, begin, owner))

    async def refresh(self, session: Session) -> bool:
        """Claim the session, unless this append has done so."""
        assert isinstance(session, HeldSession)
        if session.fresh:
            return False
        await self._backlog.settle(session)
        if session.backlog:  # a claim would give up what only this memory has
            raise StoreUnavailable("the session store is not available, and has to be asked")
        await self._claim(session, session.owner, "mismatch")
        return True

    def begin_append(
        self, session: Session, plan: AppendPlan, route: Route, *, positioned: bool, end: bool
    ) -> SharedAppend | AppendAhead:
        """Send the append; see `SessionStore.begin_append`."""
        assert isinstance(session, HeldSession)
        self._backlog.check_room(len(plan.vectors))
        client = self._calls.client
        if not (client.reachable or self._serve_without_store):
            raise StoreUnavailable(f"the session store {client.shown} cannot be reached")
        if not (self._wait_for_store or end) and positioned and plan.position:
            age = self._clock.monotonic() - session.confirmed
            if age < CONFIRM_SECONDS or not client.reachable:
                return AppendAhead(session, self._claim_again)
        return SharedAppend(
            self._calls,
            self._backlog,
            self._metrics,
            self._clock,
            self._claim_again,
            session,
            plan,
            route,
            end=end,
            serve_without_store=self._serve_without_store,
        )

    def keep(self, session: Session) -> None:
        """Keep the copy, send what is not stored, and evict copies that nobody uses."""
        assert isinstance(session, HeldSession)
        self._used.pop(session.id, None)
        size = session.nbytes
        if session.owner is not None:
            session.owner.sessions += session.id not in self._sessions
            session.owner.nbytes += size - session.charged
            session.charged = size
        self._sessions.put(session.id, session, size=size, now=self._clock.monotonic())
        self._backlog.write(session)
        self._write_checkpoint(session)
        self._owners.renew(session)
        for _, evicted in self._sessions.shrink():
            _release_quota(evicted)

    def forget(self, session: Session) -> None:
        """Drop the copy. Appends that wait for its lock claim it, and find nothing."""
        assert isinstance(session, HeldSession)
        self._drop(session)
        session.clear()
        self._owners.dismiss(session.id, session.owner)
        session.admitted = None

    async def read(self, session_id: str, owner: SessionQuota | None = None) -> SessionSummary:
        """The session as it is stored; see `SessionStore.read`."""
        held = self._sessions.get(session_id)
        before = 0
        if held is not None:
            await self._backlog.drain(held)
            before = held.length
        try:
            reply = await self._calls.read(session_id, owner)
        except RedisFailureError as error:
            if held is None or held.owner is not owner or not self._serve_without_store:
                raise caller_error(error) from error
            return SessionSummary(session_id, held.length, held.variant, held.version, held.nbytes)
        if held is not None and held.is_idle_at(before):
            # A copy that is not what is stored is old: the next append has to claim it.
            held.current &= reply[0] == b"held" and reply[1] == before
        check_status(session_id, reply)
        _, length, version, variant, nbytes = reply
        return SessionSummary(
            session_id,
            int(length),
            variant_of(variant),
            version.decode("utf-8", "replace"),
            int(nbytes),
        )

    async def delete(self, session_id: str, owner: SessionQuota | None = None) -> None:
        """Delete the session everywhere; see `SessionStore.delete`."""
        held = self._sessions.get(session_id) or self._used.get(session_id)
        if held is None or held.owner is not owner:
            await self._delete_stored(session_id, owner)
            return
        held.users += 1
        try:
            async with held.lock:
                await self._backlog.drain(held)
                await self._delete_stored(session_id, owner)
                held.ended = True
                self._drop(held)
                if self._used.get(session_id) is held:
                    del self._used[session_id]
        finally:
            self.release(held)

    def acquire(self, request: LeaseRequest) -> HeldSession:
        """See `LeasingStore.acquire`."""
        session_id = request.session_id
        for _, expired in self._sessions.expire(self._clock.monotonic(), limit=8):
            _release_quota(expired)
        session = self._sessions.get(session_id) or self._used.get(session_id)
        if session is None:
            form = self._calls.form
            history = History(form.history_vectors, form.dim, compact=form.compact)
            session = HeldSession(session_id, history, keys=self._calls.keys(session_id))
            self._used[session_id] = session
        if session.users >= MAX_USERS:
            raise QueueFull(
                f"{session.users} appends to session {session_id!r} are already waiting", 1.0
            )
        session.users += 1
        return session

    async def enter(self, session: HeldSession, request: LeaseRequest) -> None:
        """Make sure that this replica has claimed the session."""
        if session.ended:
            raise NotFound(
                f"session {session.id!r} was deleted in the meantime", code="session_not_found"
            )
        session.begin, session.fresh = may_begin(request.position, request.begin), False
        if session.current and session.length:
            if session.owner is not request.owner:
                raise unknown_session(session.id)
            return
        await self._claim(session, request.owner, "move")

    def release(self, session: HeldSession) -> None:
        """See `LeasingStore.release`."""
        session.users -= 1
        if session.users == 0 and self._used.get(session.id) is session:
            del self._used[session.id]
            if session.admitted is not None and not session.length:  # its first append failed
                self._owners.dismiss(session.id, session.owner)

    async def _claim_again(self, session: HeldSession) -> None:
        await self._claim(session, session.owner, "fenced")

    async def _claim(self, session: HeldSession, owner: SessionQuota | None, reason: str) -> None:
        """Claim the session for `owner`. Raises as `SessionStore.use` does."""
        self._backlog.give_up(session)
        try:
            reply = await self._calls.claim(session, owner)
        except RedisFailureError as error:
            raise caller_error(error) from error
        status = reply[0]
        if status not in {b"held", b"new"}:
            self._drop(session)
            check_status(session.id, reply, self._calls.form.dim)
        if session.owner is not owner or status == b"new":
            self._drop(session)
            begin_empty(session)
            session.owner = owner
        if status == b"new":
            if owner is not None:
                await self._owners.admit(session, owner)
            session.fence, reason = reply[1], "begin"
        else:
            found = parse_claim(reply)
            try:
                adopt(session, found, self._calls.form.dim)
            except ValueError as error:
                raise Gone(f"session {session.id!r} cannot be read: {error}") from error
            session.fence = found.fence
        session.current = session.fresh = True
        session.confirmed = self._clock.monotonic()
        self._metrics.claims.labels(reason).inc()

    def _write_checkpoint(self, session: HeldSession) -> None:
        if session.length < session.checkpointed:
            session.checkpointed = 0
        due = session.length - session.checkpointed >= CHECKPOINT_VECTORS
        on_its_way = session.length in {session.stored, session.sent if session.sending else -1}
        if due and on_its_way and self._calls.client.up:
            states = encode_checkpoint(session)
            session.checkpointed = session.length
            if states is not None:
                self._calls.checkpoint(session, states)

    async def _delete_stored(self, session_id: str, owner: SessionQuota | None) -> None:
        try:
            reply = await self._calls.delete(session_id, owner)
        except RedisFailureError as error:
            raise caller_error(error) from error
        check_status(session_id, reply)
        self._owners.dismiss(session_id, owner)

    def _drop(self, session: HeldSession) -> None:
        """Forget the copy, not what is stored. Appends that use it share it with those to come:
        a second copy would be counted beside it."""
        session.current = False
        self._backlog.count(session)  # 0
        if not session.ended:
            self._used[session.id] = session
        if self._sessions.get(session.id) is session:
            self._sessions.pop(session.id)
            _release_quota(session)


def _release_quota(session: HeldSession) -> None:
    if session.owner is not None:
        session.owner.nbytes -= session.charged
        session.owner.sessions -= 1
        session.charged = 0
