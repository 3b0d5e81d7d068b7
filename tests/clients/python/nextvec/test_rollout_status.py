"""The status as typed objects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nextvec.errors import ResponseError
from nextvec.rollout_status import parse_status
from tests.support.rollout_status import status

CONDITION = {
    "name": "dwell",
    "current": 45.0,
    "required": 120.0,
    "unit": "seconds",
    "met": False,
    "fraction": 0.375,
    "text": "45 s of 2 min at this weight",
}
NEXT = {
    "action": "next_step",
    "text": "Step 3 begins.",
    "weight_percent": 50.0,
    "waiting_for": ["dwell"],
    "earliest_at": 10.0,
    "expected_at": None,
    "deadline_at": 20.0,
    "on_deadline": "pause",
    "conditions": [CONDITION],
    "rollback": {"guardrail": "latency", "fraction": 0.4, "expected_at": 9.0, "text": "40 %"},
}
GUARDRAIL = {
    "name": "latency",
    "outcome": "inconclusive",
    "message": "ln E = 1.2",
    "label": "P95 latency",
    "standing": "leaning_to_pass",
    "summary": "P95 is 4 % higher.",
    "effect": "must_pass",
    "stable": 0.0073,
    "canary": 0.0076,
    "value_unit": "seconds",
    "difference": 1.041,
    "difference_kind": "ratio",
    "limit": 1.2,
    "direction": "at_most",
    "interval": {"low": 0.913, "high": None, "confidence": 0.989, "text": "at least 0.91"},
    "progress": {"pass": 0.61, "fail": 0.0},
}


def test_what_the_status_says():
    found = parse_status(
        status(
            outlook="looks_good", headline="phase-3 looks good.", next=NEXT, guardrails=[GUARDRAIL]
        )
    )
    assert ("Progressing", 3, 25.0, "looks_good", "phase-3 looks good.") == (
        found.phase,
        found.generation,
        found.weight_percent,
        found.outlook,
        found.headline,
    )
    assert datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC) == found.since
    assert [False] * 3 == [found.is_final, found.is_paused, found.dry_run]
    latency = found.guardrail("latency")
    assert (1.041, 0.913, None, 0.61) == (
        latency.difference,
        latency.interval.low,
        latency.interval.high,
        latency.progress["pass"],
    )
    (condition,) = found.next.conditions
    assert (0.375, False, ("dwell",)) == (condition.fraction, condition.met, found.next.waiting_for)
    assert 20.0 == found.next.deadline_at.timestamp()
    assert ("latency", 0.4) == (found.next.rollback.guardrail, found.next.rollback.fraction)


def test_the_status_of_an_older_service_lacks_the_sentences():
    found = parse_status(status())
    assert (None, "", None) == (found.outlook, found.headline, found.next)
    assert "latency" == found.guardrail("latency").label


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": "Paused", "reason": "approval"}, (False, True, True, False)),
        ({"phase": "Paused", "reason": "by_hand"}, (False, True, False, False)),
        ({"phase": "RolledBack"}, (True, False, False, True)),
        ({"phase": "Healthy", "canary": None}, (True, False, False, False)),
    ],
)
def test_where_the_rollout_is(changes, expected):
    found = parse_status(status(**changes))
    assert expected == (found.is_final, found.is_paused, found.needs_approval, found.is_rolled_back)


@pytest.mark.parametrize(
    "body",
    [{}, {"phase": "Healthy"}, status(weight=None), status(generation="x"), status(guardrails=[1])],
)
def test_another_document_is_refused(body):
    with pytest.raises(ResponseError):
        parse_status(body)
