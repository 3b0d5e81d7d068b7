"""What is counted of a request. The record is made once, when the request ends."""

from __future__ import annotations

import asyncio

from service.clock import Clock
from service.errors import (
    Conflict,
    DeadlineExceeded,
    Gone,
    Invalid,
    NextvecError,
    NotFound,
    QueueFull,
    StoreUnavailable,
)
from service.metrics import Metrics
from service.prediction.deadline import CallerDeadlineExceeded
from service.prediction.routing import RoutingDecision
from service.types import Mode, RequestOutcome


class RequestRecorder:
    """Counts each request when it ends."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    def succeed(
        self,
        decision: RoutingDecision,
        mode: Mode,
        began: float,
        exemplar: dict[str, str] | None = None,
    ) -> None:
        """Count a request that was answered; it `began` then by the monotonic clock.

        `exemplar` is the trace that it belongs to.
        """
        self._record(decision, mode, began, RequestOutcome.OK, exemplar)

    def fail(
        self,
        decision: RoutingDecision,
        mode: Mode,
        began: float,
        error: BaseException,
        exemplar: dict[str, str] | None = None,
    ) -> None:
        """Count a request that ended in `error`, and name in the error who served it."""
        if isinstance(error, NextvecError):
            variant = decision.route.variant
            error.variant = None if variant is None else variant.value
            error.version = decision.route.version
        self._record(decision, mode, began, outcome_of(error), exemplar)

    def _record(
        self,
        decision: RoutingDecision,
        mode: Mode,
        began: float,
        outcome: RequestOutcome,
        exemplar: dict[str, str] | None,
    ) -> None:
        seconds = self._clock.monotonic() - began
        self._metrics.observe_request(
            decision.label, decision.route.version, mode, outcome, seconds, exemplar
        )


def outcome_of(error: BaseException) -> RequestOutcome:
    """How a request ended that raised `error`."""
    if isinstance(error, (asyncio.CancelledError, CallerDeadlineExceeded)):
        return RequestOutcome.CANCELLED
    if isinstance(error, DeadlineExceeded):
        return RequestOutcome.TIMEOUT
    if isinstance(error, (QueueFull, StoreUnavailable)):
        # A store that is down says nothing about a version.
        return RequestOutcome.REJECTED
    if isinstance(error, (Invalid, Conflict, NotFound, Gone)):
        return RequestOutcome.INVALID
    return RequestOutcome.ERROR
