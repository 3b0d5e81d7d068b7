"""What a request turns out to be while it runs, and what is counted when it ends."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from service.clock import Clock
from service.errors import (
    Conflict,
    DeadlineExceeded,
    Gone,
    Invalid,
    NextvecError,
    NotFound,
    QueueFull,
)
from service.metrics import UNASSIGNED, Metrics
from service.rollout.routing.traffic_split import Route, TrafficSplit
from service.types import Mode, RequestOutcome

# Classes and not generators: of one more vector in a session those were a tenth of
# what the service adds.


class RequestRecord:
    """Counts a request under what it turned out to be, however the block ends.

    An error that leaves the block is told who was to answer.
    """

    def __init__(self, metrics: Metrics, clock: Clock, mode: Mode) -> None:
        self._metrics = metrics
        self._clock = clock
        self._began = 0.0
        self.mode = mode
        self.split: TrafficSplit | None = None
        self.route: Route | None = None
        self.assigned = True
        self.impatient = False
        # Vectors of whole contexts that the prefix cache spared.
        self.known = 0

    def __enter__(self) -> Self:
        self._began = self._clock.monotonic()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        route = self.route
        if route is None:
            return
        if isinstance(error, NextvecError):
            error.variant = None if route.variant is None else route.variant.value
            error.version = route.version
        self._metrics.observe_request(
            label(route) if self.assigned else UNASSIGNED,
            route.version,
            self.mode,
            RequestOutcome.CANCELLED if self.impatient else _outcome(error),
            self._clock.monotonic() - self._began,
        )


class Deadline:
    """Raises `DeadlineExceeded` when the block takes longer than `seconds`.

    A deadline of the caller's `own` is its leaving, not the version's fault.
    """

    def __init__(self, recorded: RequestRecord, seconds: float, *, own: bool) -> None:
        self._recorded = recorded
        self._seconds = seconds
        self._own = own
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            self._recorded.impatient = self._own
            raise DeadlineExceeded(f"not answered within {self._seconds:g} s") from late


def label(route: Route) -> str:
    """The route's variant as the metrics name it."""
    return UNASSIGNED if route.variant is None else route.variant.value


def _outcome(error: BaseException | None) -> RequestOutcome:
    if error is None:
        return RequestOutcome.OK
    if isinstance(error, asyncio.CancelledError):
        return RequestOutcome.CANCELLED
    if isinstance(error, DeadlineExceeded):
        return RequestOutcome.TIMEOUT
    if isinstance(error, QueueFull):
        return RequestOutcome.REJECTED
    if isinstance(error, (Invalid, Conflict, NotFound, Gone)):
        return RequestOutcome.INVALID
    return RequestOutcome.ERROR
