"""How verdicts are combined into one assessment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.rollout.analysis.verdict import Verdict, VerdictOutcome, assess


def verdict(name, outcome, canary=1000, stable=1000) -> Verdict:
    return Verdict(
        name,
        outcome,
        f"{outcome}: its arithmetic",
        1.2,
        4.6,
        4.6,
        canary=canary,
        stable=stable,
    )


@pytest.mark.parametrize(
    ("outcomes", "required", "expected", "by"),
    [
        ({"a": "pass", "b": "pass"}, "ab", "pass", None),
        ({"a": "pass", "b": "inconclusive"}, "ab", "inconclusive", None),
        ({"a": "pass", "b": "inconclusive"}, "a", "pass", None),
        ({"a": "pass", "b": "fail"}, "ab", "fail", "b"),
        ({"a": "pass", "b": "fail"}, "a", "fail", "b"),
        ({"a": "error", "b": "fail"}, "ab", "fail", "b"),
        ({"a": "pass", "b": "error"}, "ab", "error", "b"),
        ({"a": "pass", "b": "error"}, "a", "pass", None),
        ({"a": "inconclusive", "b": "error"}, "ab", "error", "b"),
        ({"a": "pass"}, "", "inconclusive", None),
        ({}, "a", "inconclusive", None),
    ],
)
def test_verdicts_are_combined(outcomes, required, expected, by):
    """Any fail, an error of a required one, or a pass of all."""
    verdicts = [verdict(name, VerdictOutcome(outcome)) for name, outcome in outcomes.items()]
    found = assess(verdicts, frozenset(required))
    assert (expected, by) == (found.outcome, found.guardrail)
    if by is not None:
        assert f"{by} {expected}: its arithmetic" == found.message


def test_samples_count_requests_and_no_other_unit():
    """Even if a guardrail that counts keys must pass."""
    keys = replace(verdict("b", VerdictOutcome.PASS, 40, 800), unit="keys")
    found = assess([verdict("a", VerdictOutcome.PASS, 500, 9000), keys], frozenset("ab"))
    assert (500, 9000) == (found.canary, found.stable)


def test_samples_are_those_of_the_required_guardrail_that_has_seen_the_fewest():
    verdicts = [
        verdict("a", VerdictOutcome.PASS, 500, 9000),
        verdict("b", VerdictOutcome.PASS, 400, 8000),
        verdict("c", VerdictOutcome.INCONCLUSIVE, 3, 5),
    ]
    found = assess(verdicts, frozenset("ab"))
    assert (400, 8000) == (found.canary, found.stable)
    assert [True, True, False] == [v["required"] for v in found.to_json()]
