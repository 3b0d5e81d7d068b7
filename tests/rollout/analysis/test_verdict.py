"""How verdicts are combined into one assessment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rollout.analysis.verdict import Stance, Verdict, VerdictOutcome, assess


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


def standings(*evidence: tuple[float, float]) -> list[Stance]:
    """Those of a guardrail whose ln E for a fail and for a pass goes through these values, as
    parts of the bounds."""
    leaned, found = None, []
    for failing, passing in evidence:
        made = replace(
            verdict("a", VerdictOutcome.INCONCLUSIVE),
            log_fail=4.6 * failing,
            log_pass=4.6 * passing,
        ).after(leaned)
        assert made == made.after(made.leaning), "the same evidence says the same again"
        found.append(made.standing)
        leaned = made.leaning
    return found


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ([(0, 0.3), (0, 0.34), (0, 0.1), (0, 0.01)], "collecting|leaning_to_pass"),
        ([(0, 0.34), (0, 0.0), (0, 0.3)], "leaning_to_pass|collecting"),
        ([(0.34, 0), (0.1, 0.2), (0.01, 0.3)], "leaning_to_fail"),
        ([(0.34, 0), (0.1, 0.34)], "leaning_to_fail|leaning_to_pass"),
        ([(0.34, 0), (-0.1, 0), (0.3, 0)], "leaning_to_fail|collecting"),
        ([(0, 0.5), (0.6, 0.5), (0.1, 0.4)], "leaning_to_pass|leaning_to_fail|leaning_to_pass"),
    ],
)
def test_a_leaning_lasts_until_its_evidence_is_gone(evidence, expected):
    """So a word does not flicker around a third of the evidence."""
    words = [str(standing) for standing in standings(*evidence)]
    changes = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    assert expected.split("|") == changes


PARTS = st.floats(-1, 0.98)


@given(st.lists(st.tuples(PARTS, PARTS), min_size=1))
def test_no_memory_delays_a_leaning_to_a_fail(evidence):
    """Whoever sees only the last evaluation never says it sooner."""
    remembered = standings(*evidence)[-1]
    if [Stance.LEANING_TO_FAIL] == standings(evidence[-1]):
        assert Stance.LEANING_TO_FAIL is remembered
