"""The canary on copies of real requests, off everybody's path.

One copy at a time, and only when neither version has anybody waiting; after each the
canary rests three times as long as the copy took. So shadowing takes at most a quarter
of one engine's time, and under load it is the first to go: what does not fit is dropped,
never queued.

A session is copied with a state of the canary's own: primed from the session's kept
vectors once, then kept up with its appends. A copy that was dropped is caught up with the
next. Times are compared only where both versions did the same work, one new vector
or several from a kept state, or a whole context of which nothing was known; predictions
agree or not in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.clock import Clock
from service.contexts.session_store import Session
from service.contexts.window import Run, plan_runs
from service.errors import EngineFault, NextvecError, NotFound
from service.inference.registry import LoadedVersion, Registry
from service.inference.scheduling.jobs import EngineResult
from service.metrics import Metrics
from service.rollout.analysis.shadow_stats import ShadowStats, count_copy
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.types import Mode, State, Vector, Vectors

log = logging.getLogger(__name__)

REST = 3.0
"""Seconds of rest for one of work."""

MAX_SESSIONS = 256
"""Sessions followed at once, of 8 to 16 KiB of state each at full size."""

IDLE_SECONDS = 60.0
"""A followed session without a copy for so long makes room for another one."""


@dataclass
class _Followed:
    """The canary's own states of a session, after its first `length` vectors."""

    digest: str
    length: int
    states: dict[int, State]
    used: float


@dataclass(frozen=True)
class _Copy:
    """One request for the canary, and what stable made of it. `fair`: both did the same."""

    split: TrafficSplit
    canary: LoadedVersion
    runs: Sequence[Run]
    mode: Mode
    stable: EngineResult
    fair: bool
    session: str | None = None
    length: int = 0


class ShadowRunner:
    """Fed by `Dispatch` with what stable has answered; nothing here waits or raises."""

    def __init__(
        self,
        traffic: TrafficRouter,
        registry: Registry,
        metrics: Metrics,
        clock: Clock,
        timeout: float,
    ) -> None:
        """`timeout`: seconds a copy may take; longer is a failure, as for a caller."""
        self._traffic = traffic
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._timeout = timeout
        self._seen = ShadowStats(metrics.edges)
        self._seen_under = traffic.current
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._running: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    def take(self) -> ShadowStats:
        """What the copies of the present split have shown since this was last called."""
        seen, self._seen = self._of_the_present(), ShadowStats(self._metrics.edges)
        return seen

    def context(
        self, context: Vectors, stable: EngineResult, split: TrafficSplit, *, known: int
    ) -> None:
        """A whole context `[n, dim]` that stable has answered, of which it knew the first
        `known` vectors from an earlier one."""
        canary = self._admit(split)
        if canary is None:
            return
        after = min(len(context), canary.manifest.context_window)
        runs = [Run(0, None, context[-after:])]
        self._begin(_Copy(split, canary, runs, Mode.PREFILL, stable, fair=known == 0))

    def append(
        self, session: Session, count: int, mode: Mode, stable: EngineResult, split: TrafficSplit
    ) -> None:
        """An append of `count` vectors that stable has answered, `session` being as it is
        after it."""
        if count == session.length:  # begun anew under its id: what is known is of another
            self._followed.pop(session.id, None)
        canary = self._admit(split)
        if canary is None:
            return
        followed = self._follow(session, canary, split)
        if followed is None:
            return
        manifest = canary.manifest
        behind = session.length - followed.length
        if behind > len(session.history):
            followed.states, followed.length = {}, 0
        runs = [
            # Copied: the history changes with the next append, perhaps before this has run.
            Run(run.start, run.state, run.vectors.copy())
            for run in plan_runs(
                manifest, followed.states, followed.length, session.length, session.history.last
            )
        ]
        fair = behind == count and (followed.length > 0 or count == session.length)
        copy = _Copy(split, canary, runs, mode, stable, fair, session.id, session.length)
        self._begin(copy)

    async def close(self) -> None:
        """Drop what is running."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _admit(self, split: TrafficSplit) -> LoadedVersion | None:
        """The canary, if there is room for a copy now."""
        if not split.shadow or split.canary is None:
            return None
        try:
            canary = self._registry.get(split.canary)
            waiting = self._registry.get(split.stable).scheduler.waiting
        except NotFound:
            return None
        resting = self._clock.monotonic() < self._rests_until
        if resting or self._running is not None or waiting or canary.scheduler.waiting:
            self._dropped(split)
            return None
        return canary

    def _follow(
        self, session: Session, canary: LoadedVersion, split: TrafficSplit
    ) -> _Followed | None:
        """The canary's side of the session; None if too many are followed already."""
        now = self._clock.monotonic()
        followed = self._followed.pop(session.id, None)
        if followed is None and len(self._followed) >= MAX_SESSIONS:
            oldest = next(iter(self._followed.values()))
            if now - oldest.used < IDLE_SECONDS:
                self._dropped(split)
                return None
            self._followed.popitem(last=False)
        if followed is None or followed.digest != canary.digest:
            followed = _Followed(canary.digest, 0, {}, now)
        if followed.length >= session.length:  # as above, outside of the split
            followed.length, followed.states = 0, {}
        followed.used = now
        self._followed[session.id] = followed
        return followed

    def _begin(self, copy: _Copy) -> None:
        self._running = asyncio.create_task(self._run(copy), name="shadow")

    async def _run(self, copy: _Copy) -> None:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                predictions = [
                    await copy.canary.scheduler.submit(run.vectors, run.state) for run in copy.runs
                ]
            self._answered(copy, predictions)
        except (EngineFault, TimeoutError):
            self._note(copy, ShadowStats(self._metrics.edges, faults=1), "failed")
        except NextvecError:
            self._dropped(copy.split)  # the queue filled up, or the version is being unloaded
        except Exception:
            log.exception("a copy for the canary failed in an unforeseen way")
            self._note(copy, ShadowStats(self._metrics.edges, faults=1), "failed")
        finally:
            now = self._clock.monotonic()
            self._rests_until = now + REST * (now - began)
            self._running = None

    def _answered(self, copy: _Copy, predictions: Sequence[EngineResult]) -> None:
        first = predictions[0]
        followed = None if copy.session is None else self._followed.get(copy.session)
        if followed is not None and followed.digest == copy.canary.digest:
            followed.length = copy.length
            followed.states = {
                run.start: found.state for run, found in zip(copy.runs, predictions, strict=True)
            }
        modes = {}
        if copy.fair:
            stable, canary = copy.stable.inference_seconds, first.inference_seconds
            modes = count_copy(self._metrics.edges, copy.mode.value, stable, canary)
            version = copy.canary.manifest.version
            self._metrics.shadow_inference.labels(version, copy.mode.value).observe(canary)
        cosine = _cosine(first.vector, copy.stable.vector)
        seen = ShadowStats(self._metrics.edges, modes, answered=1, cosine_sum=cosine)
        self._note(copy, seen, "answered")

    def _note(self, copy: _Copy, seen: ShadowStats, result: str) -> None:
        """Count it, unless the step that it was made in is over."""
        self._metrics.shadow_copies.labels(result).inc()
        self._add(copy.split, seen)

    def _dropped(self, split: TrafficSplit) -> None:
        self._metrics.shadow_copies.labels("dropped").inc()
        self._add(split, ShadowStats(self._metrics.edges, dropped=1))

    def _add(self, split: TrafficSplit, new: ShadowStats) -> None:
        if split == self._traffic.current:
            self._seen = self._of_the_present().plus(new)

    def _of_the_present(self) -> ShadowStats:
        """What has been seen under the present split: another canary, or the same one on
        another trial, does not inherit what was still to be taken."""
        if self._seen_under != self._traffic.current:
            self._seen_under, self._seen = self._traffic.current, ShadowStats(self._metrics.edges)
        return self._seen


def _cosine(a: Vector, b: Vector) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
