"""The dashboard and the alerts use only metrics that the service emits."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from service.api.access.identity import FailureReason
from service.metrics import UNASSIGNED
from service.rollout.state.events import TRANSITIONS, Phase, Reason
from service.session_metrics import CLAIM_REASONS, FAILURES
from service.types import Mode, RequestOutcome, Variant
from tests.support.expressions import (
    PROMETHEUS_OWN,
    everything,
    groupings,
    queries,
    registered,
    selectors,
)

KNOWN = registered(fleet=True) | PROMETHEUS_OWN
VALUES = {
    "variant": {*Variant, UNASSIGNED},
    "mode": set(Mode),
    "outcome": set(RequestOutcome),
    "phase": set(Phase),
    "from": set(Phase),
    "to": set(Phase),
    "reason": {*Reason, *get_args(FailureReason), *CLAIM_REASONS, *FAILURES},
    "side": {"fail", "pass"},
}
EVERYTHING = everything()


@pytest.mark.parametrize("expr", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_an_expression_selects_what_the_service_emits(expr):
    """A metric, a label or a value that does not exist selects nothing and reports no error."""
    found = selectors(expr)
    assert found
    assert set() == {name for name, _ in found} - KNOWN.keys()
    for name, matchers in found:
        assert set() == matchers.keys() - KNOWN[name]
        for label, (_, pattern) in matchers.items():
            words = set() if pattern == ".+" else set(pattern.split("|"))
            assert set() == words - VALUES.get(label, words)
    labels = set().union(*(KNOWN[name] for name, _ in found))
    assert set() == groupings(expr) - labels


def test_alerts_on_transitions_match_possible_transitions():
    """An alert on an impossible (to, reason) would never fire."""
    moves = {(to.value, reason.value) for _, to, reason in TRANSITIONS}
    asked = [
        (matchers["to"][1], reason)
        for expr in EVERYTHING.values()
        for _, matchers in selectors(expr)
        if "to" in matchers
        for reason in matchers["reason"][1].split("|")
    ]

    assert asked
    assert set() == set(asked) - moves


def test_every_metric_of_the_rollout_and_of_latency_is_on_the_dashboard():
    """No metric is missing."""
    shown = {name for expr in queries().values() for name, _ in selectors(expr)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    emitted = {re.sub(r"_(bucket|sum|count)$", "", name) for name in registered(fleet=True)}

    assert set() == emitted - shown
