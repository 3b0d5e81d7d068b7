"""A request's way through the service: choose a variant, submit, record."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from service.clock import Clock
from service.errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    NextvecError,
    NotFound,
    QueueFull,
)
from service.inference.registry import LoadedVersion, Registry
from service.inference.scheduler import Prediction
from service.inference.sessions import LastAppend, Session, SessionStore
from service.metrics import UNASSIGNED, Metrics
from service.rollout.traffic import Route, Traffic
from service.types import Mode, Outcome, State, Variant, Vector, Vectors


@dataclass(frozen=True)
class Answer:
    """One prediction and where it came from; durations in seconds.

    `length` is the session's length after the append, None for a single call.
    """

    vector: Vector
    route: Route
    queue_seconds: float
    inference_seconds: float
    length: int | None = None


@dataclass
class Recorded:
    """What a request turns out to be while it runs; read when it ends."""

    mode: Mode
    route: Route | None = None
    assigned: bool = field(default=True)


class Dispatch:
    """The one path of all predictions, whatever protocol they came by."""

    def __init__(
        self,
        traffic: Traffic,
        registry: Registry,
        sessions: SessionStore,
        metrics: Metrics,
        clock: Clock,
        *,
        max_rows: int,
        timeout_seconds: float,
        draw: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._traffic = traffic
        self._registry = registry
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._max_rows = max_rows
        self._timeout = timeout_seconds
        self._draw = draw

    async def predict(self, context: Vectors, key: str | None, override: Variant | None) -> Answer:
        """The vector after `context` `[n, dim]`, of which the version reads its last window.

        Raises `Invalid` and whatever `Scheduler.submit` does.
        """
        with self._record(Mode.PREFILL) as recorded:
            route = self._route(recorded, key, override)
            loaded = self._registry.get(route.version)
            self._check(context, loaded)
            window = context[-loaded.manifest.context_window :]
            prediction = await self._submit(route, loaded, window, None)
        return Answer(
            prediction.vector, route, prediction.queue_seconds, prediction.inference_seconds
        )

    async def append(
        self,
        session_id: str,
        vectors: Vectors,
        position: int | None,
        key: str | None,
        override: Variant | None,
    ) -> Answer:
        """Append `vectors` `[k, dim]` to the session and predict what follows.

        `position` is the session's length before the append. The last append,
        sent again, is answered again; any other mismatch raises `Conflict` with
        the true position. Appends to one session run in order of arrival. One
        that fails leaves the session as it was. Raises as `predict`, `NotFound`
        for a session that should exist and `Gone` for an evicted one.
        """
        async with self._sessions.use(session_id, position) as session:
            return await self._append(session, vectors, position, key, override)

    def session(self, session_id: str) -> Session:
        """The session, to be looked at. Raises `NotFound` or `Gone`."""
        return self._sessions.get(session_id)

    async def delete_session(self, session_id: str) -> None:
        """Forget the session. Raises as `session`."""
        await self._sessions.delete(session_id)
        self._show_sessions()

    async def _append(
        self,
        session: Session,
        vectors: Vectors,
        position: int | None,
        key: str | None,
        override: Variant | None,
    ) -> Answer:
        with self._record(_mode_of_append(session, vectors)) as recorded:
            route = self._route(recorded, key or session.id, override)
            loaded = self._registry.get(route.version)
            self._check(vectors, loaded)
            digest = hashlib.blake2b(vectors.tobytes(), digest_size=16).digest()
            if position is not None and position != session.length:
                recorded.assigned = False  # a repeat costs nothing, whoever answers it
                return _replay(session, position, digest)
            moved = session.length > 0 and session.version != route.version
            # A move's cost falls on whichever variant gains sessions, not on a
            # random half of the requests: it is no evidence of either's speed.
            recorded.assigned = route.assigned and not moved
            state, run = _plan(session, vectors, loaded, moved=moved)
            prediction = await self._submit(route, loaded, run, state)
        last = LastAppend(session.length, digest, prediction.vector)
        session.history.append(vectors)
        session.length += len(vectors)
        session.state = prediction.state
        session.variant, session.version = route.variant, route.version
        session.last = last
        self._sessions.keep(session)
        self._show_sessions()
        return Answer(
            prediction.vector,
            route,
            prediction.queue_seconds,
            prediction.inference_seconds,
            session.length,
        )

    def _route(self, recorded: Recorded, key: str | None, override: Variant | None) -> Route:
        route = self._traffic.current.route(key, override, self._draw)
        recorded.route, recorded.assigned = route, route.assigned
        return route

    def _check(self, vectors: Vectors, loaded: LoadedVersion) -> None:
        dim = loaded.manifest.dimensions.dim
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise Invalid(f"vectors have shape {list(vectors.shape)}, not [n, {dim}]")
        if len(vectors) == 0:
            raise Invalid("there are no vectors")
        if len(vectors) > self._max_rows:
            raise Invalid(f"{len(vectors)} vectors are more than the {self._max_rows} allowed")
        # A NaN or Inf in a row makes its sum of squares NaN or Inf; one pass.
        norms = np.einsum("ij,ij->i", vectors, vectors)
        if not np.isfinite(norms).all():
            row = int(np.flatnonzero(~np.isfinite(norms))[0])
            raise Invalid(f"vector {row} has a NaN, an Inf or values beyond float32's squares")
        if not norms.all():
            raise Invalid(f"vector {int(np.flatnonzero(norms == 0)[0])} is all zeros")

    async def _submit(
        self, route: Route, loaded: LoadedVersion, vectors: Vectors, state: State | None
    ) -> Prediction:
        prediction = await loaded.scheduler.submit(vectors, state, self._timeout)
        self._metrics.observe_engine(
            route.variant, route.version, prediction.queue_seconds, prediction.inference_seconds
        )
        return prediction

    @contextmanager
    def _record(self, mode: Mode) -> Iterator[Recorded]:
        """Count the request under what it turned out to be, however it ends."""
        began = self._clock.monotonic()
        recorded = Recorded(mode)
        outcome = Outcome.ERROR
        try:
            yield recorded
            outcome = Outcome.OK
        except asyncio.CancelledError:
            outcome = Outcome.CANCELLED
            raise
        except NextvecError as error:
            outcome = _outcome(error)
            raise
        finally:
            if recorded.route is not None:
                label = recorded.route.variant.value if recorded.assigned else UNASSIGNED
                self._metrics.observe_request(
                    label,
                    recorded.route.version,
                    recorded.mode,
                    outcome,
                    self._clock.monotonic() - began,
                )

    def _show_sessions(self) -> None:
        self._metrics.sessions.set(len(self._sessions))
        self._metrics.session_bytes.set(self._sessions.nbytes)


def _mode_of_append(session: Session, vectors: Vectors) -> Mode:
    if len(vectors) == 1:
        return Mode.STEP
    return Mode.MIXED if session.length else Mode.PREFILL


def _plan(
    session: Session, vectors: Vectors, loaded: LoadedVersion, *, moved: bool
) -> tuple[State | None, Vectors]:
    """From which state to run which vectors, so that the answer is the recomputed one."""
    window = loaded.manifest.context_window
    if not moved and session.length + len(vectors) <= window:
        return session.state, vectors
    # Past the window, or on another version than the state's: from a cold state.
    context = np.concatenate([session.history.last(window), vectors])
    return None, context[-window:]


def _replay(session: Session, position: int, digest: bytes) -> Answer:
    last = session.last
    if last is None or last.position != position or last.digest != digest:
        raise Conflict(
            f"session {session.id!r} has {session.length} vectors, not {position}",
            code="position_mismatch",
            details={"position": session.length},
        )
    route = Route(session.variant, session.version, assigned=False)
    return Answer(last.vector, route, 0.0, 0.0, session.length)


def _outcome(error: NextvecError) -> Outcome:
    if isinstance(error, DeadlineExceeded):
        return Outcome.TIMEOUT
    if isinstance(error, QueueFull):
        return Outcome.REJECTED
    if isinstance(error, (Invalid, Conflict, NotFound)):
        return Outcome.INVALID
    return Outcome.ERROR
