"""Submits vectors to the scheduler of the version that serves the request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from service.clock import Clock
from service.inference.scheduling.job import EngineResult
from service.metrics import Metrics
from service.observability import tracing
from service.prediction.routing import RoutingDecision
from service.types import Mode, State, Vectors

T = TypeVar("T")


class Submitter:
    """Submits runs and observes their times.

    `last_predictions` says when each version last predicted, in epoch seconds.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.last_predictions: dict[str, float] = {}

    async def submit(
        self,
        decision: RoutingDecision,
        mode: Mode,
        vectors: Vectors,
        state: State | None,
        **options: Any,
    ) -> EngineResult:
        """Run `vectors` `[n, dim]` from `state`. `options` and errors: as `Scheduler.submit`."""
        span = tracing.current()
        began = tracing.now_ns() if span is not None else 0
        result = await decision.loaded.scheduler.submit(vectors, state, **options)
        if span is not None:
            version = decision.route.version
            taken = began + int(result.queue_seconds * 1e9)
            ended = taken + int(result.inference_seconds * 1e9)
            span.add("queue", began, taken)
            span.add("engine", taken, ended, version=version, mode=mode.value, vectors=len(vectors))
        self.observe(decision, mode, result, tracing.exemplar())
        return result

    def observe(
        self,
        decision: RoutingDecision,
        mode: Mode,
        result: EngineResult,
        exemplar: dict[str, str] | None,
    ) -> None:
        """Observe the times of a run; `exemplar` is the trace that it belongs to."""
        version = decision.route.version
        self.last_predictions[version] = self._clock.time()
        self._metrics.observe_engine(
            decision.label,
            version,
            mode,
            result.queue_seconds,
            result.inference_seconds,
            exemplar,
        )


async def run_all(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all concurrently and return their results; if one fails, cancel the others."""
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
