"""Runs the canary on copies of real requests, off every caller's path.

One copy runs at a time, and only if no request waits for either version. After each copy the
canary rests three times as long as the copy took. So copies take at most a quarter of one
engine's time, and under load they stop first: a copy that does not fit is dropped, never
queued.

A copied session has the canary's own states. They are primed once from the session's kept
vectors and then kept up with its appends; the next copy makes up for a dropped one. Times are
compared only where both versions did the same work: one or more new vectors from a kept state,
or a whole context without a known prefix. Predictions are compared in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.bounded_store import BoundedStore
from service.clock import Clock
from service.contexts.session import Session
from service.contexts.window import Run, plan_runs
from service.errors import EngineFault, NextvecError, NotFound
from service.inference.registry import LoadedVersion, Registry
from service.inference.scheduling.job import EngineResult
from service.metrics import Metrics
from service.rollout.analysis.shadow_stats import ShadowStats, count_copy
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Mode, State, Vector, Vectors

logger = logging.getLogger(__name__)

REST = 3.0
"""Seconds of rest after each second of work."""

MAX_SESSIONS = 256
"""Sessions followed at once, with 8 to 16 KiB of states each at full size."""

IDLE_SECONDS = 60.0
"""A followed session without a copy for this long makes room for another one."""


@dataclass
class _FollowedSession:
    """The canary's own states of a session, after its first `length` vectors."""

    graph_digest: str
    length: int
    states: dict[int, State]


@dataclass(frozen=True)
class _ShadowCopy:
    """One request for the canary, and stable's result. `same_work`: both did the same."""

    split: TrafficSplit
    canary: LoadedVersion
    runs: Sequence[Run]
    mode: Mode
    stable: EngineResult
    same_work: bool
    session_id: str | None = None
    length: int = 0


class ShadowRunner:
    """Copies what stable has answered to the canary. Its methods neither wait nor raise."""

    def __init__(
        self,
        traffic: TrafficRouter,
        registry: Registry,
        metrics: Metrics,
        clock: Clock,
        timeout: float,
    ) -> None:
        """`timeout` is the longest a copy may take in seconds; a longer one has failed."""
        self._traffic = traffic
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._timeout = timeout
        self._stats = ShadowStats(metrics.edges)
        self._stats_split = traffic.current
        self._followed: BoundedStore[str, _FollowedSession] = BoundedStore(max_age=IDLE_SECONDS)
        self._running: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    def take(self) -> ShadowStats:
        """The statistics of the current split's copies since the last call."""
        stats, self._stats = self._current_stats(), ShadowStats(self._metrics.edges)
        return stats

    def copy_context(
        self, context: Vectors, stable: EngineResult, split: TrafficSplit, *, known: int
    ) -> None:
        """Copy a whole context `[n, dim]` of which stable knew the first `known` vectors."""
        canary = self._admit(split)
        if canary is None:
            return
        length = min(len(context), canary.manifest.context_window)
        runs = [Run(0, None, context[-length:])]
        self._start(_ShadowCopy(split, canary, runs, Mode.PREFILL, stable, same_work=known == 0))

    def copy_append(
        self, session: Session, count: int, mode: Mode, stable: EngineResult, split: TrafficSplit
    ) -> None:
        """Copy an append of `count` vectors; `session` is as it is after the append."""
        if count == session.length:  # restarted under its id: the states are of another context
            self._followed.pop(session.id)
        canary = self._admit(split)
        if canary is None:
            return
        followed = self._follow(session, canary, split)
        if followed is None:
            return
        behind = session.length - followed.length
        if behind > len(session.history):
            followed.states, followed.length = {}, 0
        runs = [
            # Copied: the history changes with the next append, perhaps before this has run.
            Run(run.start, run.state, run.vectors.copy())
            for run in plan_runs(
                canary.manifest,
                followed.states,
                followed.length,
                session.length,
                session.history.last,
            )
        ]
        same_work = behind == count and (followed.length > 0 or count == session.length)
        self._start(
            _ShadowCopy(split, canary, runs, mode, stable, same_work, session.id, session.length)
        )

    async def close(self) -> None:
        """Cancel the running copy."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _admit(self, split: TrafficSplit) -> LoadedVersion | None:
        """The canary, if a copy may run now."""
        if not split.shadow or split.canary is None:
            return None
        try:
            canary = self._registry.get(split.canary)
            waiting = self._registry.get(split.stable).scheduler.waiting
        except NotFound:
            return None
        resting = self._clock.monotonic() < self._rests_until
        if resting or self._running is not None or waiting or canary.scheduler.waiting:
            self._drop(split)
            return None
        return canary

    def _follow(
        self, session: Session, canary: LoadedVersion, split: TrafficSplit
    ) -> _FollowedSession | None:
        """The canary's states of the session; None if too many sessions are followed."""
        now = self._clock.monotonic()
        followed = self._followed.get(session.id)
        full = followed is None and len(self._followed) >= MAX_SESSIONS
        if full and not self._followed.expire(now, limit=1):
            self._drop(split)
            return None
        if followed is None or followed.graph_digest != canary.digest:
            followed = _FollowedSession(canary.digest, 0, {})
        if followed.length >= session.length:  # restarted while the split did not shadow it
            followed.length, followed.states = 0, {}
        self._followed.put(session.id, followed, now=now)
        return followed

    def _start(self, copy: _ShadowCopy) -> None:
        self._running = asyncio.create_task(self._run(copy), name="shadow")

    async def _run(self, copy: _ShadowCopy) -> None:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                results = [
                    await copy.canary.scheduler.submit(run.vectors, run.state) for run in copy.runs
                ]
            self._compare(copy, results)
        except (EngineFault, TimeoutError):
            self._count(copy, ShadowStats(self._metrics.edges, faults=1), "failed")
        except NextvecError:
            self._drop(copy.split)  # the queue is full, or the version is being unloaded
        except Exception:
            logger.exception("a copy for the canary failed unexpectedly")
            self._count(copy, ShadowStats(self._metrics.edges, faults=1), "failed")
        finally:
            now = self._clock.monotonic()
            self._rests_until = now + REST * (now - began)
            self._running = None

    def _compare(self, copy: _ShadowCopy, results: Sequence[EngineResult]) -> None:
        first = results[0]
        followed = None if copy.session_id is None else self._followed.get(copy.session_id)
        if followed is not None and followed.graph_digest == copy.canary.digest:
            followed.length = copy.length
            followed.states = {
                run.start: result.state for run, result in zip(copy.runs, results, strict=True)
            }
        modes = {}
        if copy.same_work:
            stable, canary = copy.stable.inference_seconds, first.inference_seconds
            modes = count_copy(self._metrics.edges, copy.mode.value, stable, canary)
            version = copy.canary.manifest.version
            self._metrics.rollout.shadow_inference.labels(version, copy.mode.value).observe(canary)
        cosine = _cosine(first.vector, copy.stable.vector)
        stats = ShadowStats(self._metrics.edges, modes, answered=1, cosine_sum=cosine)
        self._count(copy, stats, "answered")

    def _count(self, copy: _ShadowCopy, stats: ShadowStats, result: str) -> None:
        self._metrics.rollout.shadow_copies.labels(result).inc()
        self._add(copy.split, stats)

    def _drop(self, split: TrafficSplit) -> None:
        self._metrics.rollout.shadow_copies.labels("dropped").inc()
        self._add(split, ShadowStats(self._metrics.edges, dropped=1))

    def _add(self, split: TrafficSplit, stats: ShadowStats) -> None:
        """Add to the statistics, unless the split has changed since the copy was made."""
        if split == self._traffic.current:
            self._stats = self._current_stats().plus(stats)

    def _current_stats(self) -> ShadowStats:
        """The statistics of the current split. A new split, of another canary or another
        attempt, starts with empty ones."""
        if self._stats_split != self._traffic.current:
            self._stats_split, self._stats = self._traffic.current, ShadowStats(self._metrics.edges)
        return self._stats


def _cosine(a: Vector, b: Vector) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0
