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

each_expression = pytest.mark.parametrize("expr", EVERYTHING.values(), ids=EVERYTHING.keys())


@each_expression
def test_names_are_registered(expr):
    """A renamed metric fails here instead of leaving a panel empty."""
    found = {name for name, _ in selectors(expr)}

    assert found
    assert set() == found - KNOWN.keys()


@each_expression
def test_labels_exist_on_the_metric_that_is_selected(expr):
    """A matcher on an unknown label selects nothing and reports no error."""
    for name, matchers in selectors(expr):
        assert set() == matchers.keys() - KNOWN[name]


@each_expression
def test_groups_are_labels_of_some_metric_in_the_expression(expr):
    labels = set().union(*(KNOWN[name] for name, _ in selectors(expr)))

    assert set() == groupings(expr) - labels


@each_expression
def test_label_values_exist_in_the_service(expr):
    """A value that the service never emits, such as `rolled_back`, matches nothing."""
    for _, matchers in selectors(expr):
        for label, (_, pattern) in matchers.items():
            words = set() if pattern == ".+" else set(pattern.split("|"))
            assert set() == words - VALUES.get(label, words)


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
