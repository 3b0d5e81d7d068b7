"""Dashboard and alerts ask only for what the service emits."""

from __future__ import annotations

import re

import pytest

from service.metrics import UNASSIGNED
from service.rollout.state.events import TRANSITIONS, Phase, Reason
from service.types import Mode, RequestOutcome, Variant
from tests.support.expressions import (
    PROMETHEUS_OWN,
    everything,
    groupings,
    queries,
    registered,
    selectors,
)

KNOWN = registered() | PROMETHEUS_OWN
VALUES = {
    "variant": {*Variant, UNASSIGNED},
    "mode": set(Mode),
    "outcome": set(RequestOutcome),
    "phase": set(Phase),
    "from": set(Phase),
    "to": set(Phase),
    "reason": set(Reason),
    "side": {"fail", "pass"},
}
EVERYTHING = everything()

each_expression = pytest.mark.parametrize("expr", EVERYTHING.values(), ids=EVERYTHING.keys())


@each_expression
def test_names_are_registered(expr):
    """A renamed metric breaks this test before it empties a panel."""
    found = {name for name, _ in selectors(expr)}

    assert found
    assert set() == found - KNOWN.keys()


@each_expression
def test_labels_exist_on_the_metric_that_is_selected(expr):
    """A matcher on a label that is not there selects nothing, without an error."""
    for name, matchers in selectors(expr):
        assert set() == matchers.keys() - KNOWN[name]


@each_expression
def test_groups_are_labels_of_some_metric_in_the_expression(expr):
    labels = set().union(*(KNOWN[name] for name, _ in selectors(expr)))

    assert set() == groupings(expr) - labels


@each_expression
def test_values_are_the_services_own_words(expr):
    """`RolledBack` and not `rolled_back`: a value nobody emits never matches."""
    for _, matchers in selectors(expr):
        for label, (_, pattern) in matchers.items():
            words = set() if pattern == ".+" else set(pattern.split("|"))
            assert set() == words - VALUES.get(label, words)


def test_alerts_on_transitions_match_ones_that_can_happen():
    """A (to, reason) that the state machine never takes would be an alert that never fires."""
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
    """What is measured is shown."""
    shown = {name for expr in queries().values() for name, _ in selectors(expr)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    emitted = {re.sub(r"_(bucket|sum|count)$", "", name) for name in registered()}

    assert set() == emitted - shown
