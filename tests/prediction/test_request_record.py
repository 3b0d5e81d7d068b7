"""What is counted of a request, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import (
    Conflict,
    DeadlineExceeded,
    EngineFault,
    Gone,
    Invalid,
    NotFound,
    NotReady,
    QueueFull,
)
from service.metrics import Metrics, new_registry
from service.prediction.deadline import CallerDeadlineExceeded
from service.prediction.request_record import RequestRecorder, outcome_of
from service.prediction.routing import RoutingDecision
from service.rollout.routing.traffic_split import Route, TrafficSplit
from service.types import Mode, RequestOutcome, Variant
from tests.support.fakes import FakeClock

DECISION = RoutingDecision(
    TrafficSplit("phase-2", "phase-3", 5000),
    Route(Variant.CANARY, "phase-3", assigned=True),
    loaded=None,
    is_evidence=True,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncio.CancelledError(), RequestOutcome.CANCELLED),
        (CallerDeadlineExceeded("late"), RequestOutcome.CANCELLED),
        (DeadlineExceeded("late"), RequestOutcome.TIMEOUT),
        (QueueFull("full", 1.0), RequestOutcome.REJECTED),
        (Invalid("no"), RequestOutcome.INVALID),
        (Conflict("no"), RequestOutcome.INVALID),
        (NotFound("no"), RequestOutcome.INVALID),
        (Gone("no"), RequestOutcome.INVALID),
        (EngineFault("broken"), RequestOutcome.ERROR),
        (NotReady("unloading"), RequestOutcome.ERROR),
        (ZeroDivisionError(), RequestOutcome.ERROR),
    ],
)
def test_an_errors_outcome(error, expected):
    assert outcome_of(error) is expected


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(
        f"nextvec_{name}", {"version": "phase-3", "mode": "step", **labels}
    )


def test_a_request_is_counted_once_under_its_decision():
    """A fault has no duration: it counts whatever it took."""
    metrics, clock = Metrics(new_registry(), 10.0), FakeClock()
    recorder = RequestRecorder(metrics, clock)
    began = clock.monotonic()
    clock.advance(2.0)
    recorder.succeed(DECISION, Mode.STEP, began)
    recorder.fail(DECISION.without_evidence(), Mode.STEP, began, KeyError())
    recorder.fail(DECISION.without_evidence(), Mode.STEP, began, asyncio.CancelledError())
    assert value(metrics, "requests_total", variant="canary", outcome="ok") == 1
    assert value(metrics, "requests_total", variant="unassigned", outcome="error") == 1
    assert value(metrics, "requests_total", variant="canary", outcome="error") is None
    for kind, expected in (("count", 1), ("sum", 2.0)):
        assert value(metrics, f"request_duration_seconds_{kind}", variant="canary") == expected
        assert value(metrics, f"unassigned_duration_seconds_{kind}") == expected


def test_an_error_says_who_was_to_answer():
    recorder = RequestRecorder(Metrics(new_registry(), 10.0), FakeClock())
    error = Invalid("no")
    recorder.fail(DECISION, Mode.STEP, 0.0, error)
    assert (error.variant, error.version) == ("canary", "phase-3")
