"""A request's way through the service: choose a variant, submit, record."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np

from service.clock import Clock
from service.contexts.prefix_cache import PrefixCache
from service.contexts.session_store import Begin, LastAppend, Session, SessionStore
from service.contexts.window import plan_runs
from service.errors import (
    Conflict,
    NotFound,
)
from service.inference.registry import LoadedVersion, Registry
from service.inference.scheduling.jobs import EngineResult
from service.metrics import UNASSIGNED, Metrics
from service.prediction.request import Prediction, RequestOptions, check
from service.prediction.request_record import Deadline, RequestRecord, label
from service.prediction.scoring import Scoring
from service.prediction.shadow_runner import ShadowRunner
from service.rollout.routing.traffic_split import Route, TrafficRouter
from service.settings import LimitSettings
from service.types import Mode, State, Vectors


class Dispatch:
    """The one path of all predictions, whatever protocol they came by."""

    def __init__(  # noqa: PLR0913 - the composition root hands in every part
        self,
        traffic: TrafficRouter,
        registry: Registry,
        sessions: SessionStore,
        metrics: Metrics,
        clock: Clock,
        *,
        limits: LimitSettings,
        prefixes: PrefixCache | None = None,
        scoring: Scoring | None = None,
        shadow: ShadowRunner | None = None,
        draw: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._traffic = traffic
        self._registry = registry
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._max_rows = limits.max_rows
        self._timeout = limits.timeout_seconds
        self._prefixes = prefixes
        self._scoring = scoring
        self._shadow = shadow
        self._draw = draw
        metrics.sessions.set_function(lambda: len(sessions))
        metrics.session_bytes.set_function(lambda: sessions.nbytes)
        self.answered: dict[str, float] = {}
        """When each version last predicted, in epoch seconds."""

    async def predict(self, context: Vectors, preference: RequestOptions) -> Prediction:
        """The vector after `context` `[n, dim]`, of which the version reads its last window.

        Raises `Invalid`, `NotFound` for a version that is not loaded, and whatever
        `Scheduler.submit` does.
        """
        with self._record(Mode.PREFILL) as recorded:
            answer = (await self._predict(recorded, [context], preference))[0]
        if self._scoring is not None and recorded.assigned:
            assert recorded.split is not None
            self._scoring.predicted(answer.vector, preference, answer.route, recorded.split)
        return answer

    def label(self, caller: bytes, request_id: str, vectors: Vectors) -> bool:
        """Score what `predict` answered to a request. Answers and raises as `Scoring.label`."""
        if self._scoring is None:
            raise NotFound("this service scores no predictions")
        return self._scoring.label(caller, request_id, vectors, self._traffic.current)

    async def predict_batch(
        self, contexts: Sequence[Vectors], preference: RequestOptions
    ) -> list[Prediction]:
        """As `predict` for several contexts at once, all by one version; one fails, all do.

        One request in the metrics, as it is for its caller: predictions that wait
        for each other are not so many independent samples.
        """
        with self._record(Mode.PREFILL) as recorded:
            return await self._predict(recorded, contexts, preference)

    async def _predict(
        self, recorded: RequestRecord, contexts: Sequence[Vectors], preference: RequestOptions
    ) -> list[Prediction]:
        route, loaded = self._route(recorded, preference, None)
        for context in contexts:
            check(context, loaded.manifest.dimensions.dim, self._max_rows)
        window = loaded.manifest.context_window
        async with self._deadline(recorded, preference):
            predictions = await _all(
                [
                    self._whole(recorded, loaded, context[-window:], preference)
                    for context in contexts
                ]
            )
        if self._shadow is not None and _shadowed(recorded):
            assert recorded.split is not None
            self._shadow.context(contexts[0], predictions[0], recorded.split, known=recorded.known)
        return [
            Prediction(p.vector, route, p.queue_seconds, p.inference_seconds) for p in predictions
        ]

    async def append(
        self,
        session_id: str,
        vectors: Vectors,
        preference: RequestOptions,
        *,
        position: int | None = None,
        begin: Begin = Begin.IF_UNKNOWN,
        end: bool = False,
    ) -> Prediction:
        """Append `vectors` `[k, dim]` to the session and predict what follows.

        `position` is the session's length before the append. The last append,
        sent again, is answered again; any other mismatch raises `Conflict` with
        the true position. Appends to one session run in order of arrival. One
        that fails leaves the session as it was; after one that succeeds `end`
        forgets it. Raises as `predict`, `NotFound` for a session that should
        exist and `Gone` for an evicted one. The deadline counts from the call: a
        wait behind earlier appends is part of what the caller waits for.
        """
        with self._record(_mode_of_append(1, vectors)) as recorded:
            _, loaded = self._route(recorded, preference, session_id)
            check(vectors, loaded.manifest.dimensions.dim, self._max_rows)
            async with (
                self._deadline(recorded, preference),
                self._sessions.use(session_id, position, begin) as session,
            ):
                anew = begin is Begin.RESTART
                answer = await self._append(
                    recorded, session, vectors, preference, position, anew=anew
                )
                if end:
                    self._sessions.forget(session)
                else:
                    self._sessions.keep(session)
                return answer

    def session(self, session_id: str) -> Session:
        """The session, to be looked at. Raises `NotFound` or `Gone`."""
        return self._sessions.get(session_id)

    async def delete_session(self, session_id: str) -> None:
        """Forget the session. Raises as `session`."""
        await self._sessions.delete(session_id)

    async def _append(
        self,
        recorded: RequestRecord,
        session: Session,
        vectors: Vectors,
        preference: RequestOptions,
        position: int | None,
        *,
        anew: bool,
    ) -> Prediction:
        length = 0 if anew else session.length
        recorded.mode = _mode_of_append(length, vectors)
        # Asked again: the split may have changed while this one waited its turn.
        route, loaded = self._route(recorded, preference, session.id)
        digest = hashlib.blake2b(vectors.data, digest_size=16).digest()
        if position is not None and position != length:
            recorded.assigned = False  # a repeat costs nothing, whoever answers it
            return _replay(session, position, digest)
        moved = length > 0 and session.digest != loaded.digest
        # A move's cost falls on whichever variant gains sessions, not on a
        # random half of the requests: it is no evidence of either's speed.
        recorded.assigned = route.assigned and not moved
        states = {} if moved or anew else session.states
        tail = _tail(session, vectors)
        runs = plan_runs(loaded.manifest, states, length, length + len(vectors), tail)
        predictions = await _all([self._submit(recorded, loaded, r.vectors, r.state) for r in runs])
        prediction = predictions[0]
        if anew:
            session.clear()
        last = LastAppend(length, digest, prediction.vector)
        session.history.append(vectors)
        session.length += len(vectors)
        session.states = {r.start: p.state for r, p in zip(runs, predictions, strict=True)}
        session.variant, session.version = route.variant, route.version
        session.digest = loaded.digest
        session.last = last
        if self._shadow is not None and _shadowed(recorded):
            assert recorded.split is not None
            self._shadow.append(session, len(vectors), recorded.mode, prediction, recorded.split)
        if self._scoring is not None:
            assert recorded.split is not None
            self._scoring.appended(
                session,
                vectors[0],
                prediction.vector,
                preference.key,
                route,
                recorded.split,
                assigned=recorded.assigned,
            )
        return Prediction(
            prediction.vector,
            route,
            prediction.queue_seconds,
            prediction.inference_seconds,
            session.length,
        )

    def _route(
        self, recorded: RequestRecord, preference: RequestOptions, session_id: str | None
    ) -> tuple[Route, LoadedVersion]:
        split, version = self._traffic.current, preference.version
        if version is None:
            key = preference.key or session_id
            route = split.route(key, preference.override, self._draw)
        else:
            # Found before it is recorded: a caller's word must not become a label.
            self._registry.get(version)
            route = split.pinned(version)
        recorded.split, recorded.route, recorded.assigned = split, route, route.assigned
        return route, self._registry.get(route.version)

    async def _whole(
        self,
        recorded: RequestRecord,
        loaded: LoadedVersion,
        context: Vectors,
        preference: RequestOptions,
    ) -> EngineResult:
        """A context from a cold state, or from the longest beginning of it that is known."""
        if self._prefixes is None or preference.caller is None:
            return await self._submit(recorded, loaded, context, None, exact=True)
        assert recorded.split is not None
        arms = (recorded.split.stable, recorded.split.canary)
        others = [o.digest for o in self._registry.loaded if o.manifest.version in arms]
        prefix = await self._prefixes.find(preference.caller, loaded.digest, context, others)
        recorded.known += prefix.length
        self._metrics.prefix_hits.inc(prefix.length)
        self._metrics.prefix_misses.inc(len(context) - prefix.length)
        if prefix.behind:
            # What the other arm has seen and this one has not would make this one look slow
            # (ADR 16).
            recorded.assigned = False
        prediction = await self._submit(
            recorded,
            loaded,
            context[prefix.length :],
            prefix.state,
            offset=prefix.length,
            keep_states=True,
            exact=True,
        )
        self._prefixes.keep(prefix, prediction.states)
        return prediction

    async def _submit(
        self,
        recorded: RequestRecord,
        loaded: LoadedVersion,
        vectors: Vectors,
        state: State | None,
        **more: Any,
    ) -> EngineResult:
        assert recorded.route is not None
        prediction = await loaded.scheduler.submit(vectors, state, **more)
        version = recorded.route.version
        self.answered[version] = self._clock.time()
        self._metrics.observe_engine(
            label(recorded.route) if recorded.assigned else UNASSIGNED,
            version,
            recorded.mode,
            prediction.queue_seconds,
            prediction.inference_seconds,
        )
        return prediction

    def _deadline(self, recorded: RequestRecord, preference: RequestOptions) -> Deadline:
        seconds = min(self._timeout, preference.timeout_seconds or self._timeout)
        return Deadline(recorded, seconds, own=seconds < self._timeout)

    def _record(self, mode: Mode) -> RequestRecord:
        return RequestRecord(self._metrics, self._clock, mode)


async def _all(works: Sequence[Coroutine[Any, Any, EngineResult]]) -> list[EngineResult]:
    """All of them, side by side; when one fails the others are dropped."""
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _shadowed(recorded: RequestRecord) -> bool:
    """Whether the canary may get a copy: a shadow step is on, and the split chose stable."""
    split = recorded.split
    return split is not None and split.shadow and recorded.assigned


def _mode_of_append(length: int, vectors: Vectors) -> Mode:
    if len(vectors) == 1:
        return Mode.STEP
    return Mode.MIXED if length else Mode.PREFILL


def _tail(session: Session, vectors: Vectors) -> Callable[[int], Vectors]:
    """The last n of the session's vectors with the new ones."""

    def last(count: int) -> Vectors:
        if count <= len(vectors):
            return vectors[len(vectors) - count :]
        return np.concatenate([session.history.last(count - len(vectors)), vectors])

    return last


def _replay(session: Session, position: int, digest: bytes) -> Prediction:
    last = session.last
    if last is None or last.position != position or last.digest != digest:
        raise Conflict(
            f"session {session.id!r} has {session.length} vectors, not {position}",
            code="position_mismatch",
            details={"position": session.length},
        )
    route = Route(session.variant, session.version, assigned=False)
    return Prediction(last.vector, route, 0.0, 0.0, session.length)
