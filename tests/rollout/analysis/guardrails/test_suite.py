"""The guardrails together: which are on, what each may spend, what they say as one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm, KeyCounts, KeyCountsByArm
from service.rollout.analysis.e_process import alpha_share
from service.rollout.analysis.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import LatencyGuardrail
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.analysis.guardrails.suite import GuardrailSuite
from service.rollout.analysis.verdict import Verdict, VerdictOutcome, assess
from service.types import SHARES
from tests.support.rollout_fakes import EDGES, QUICK, bucket_counts, plan

LOOK = Measurement(
    Counters({"step": CountsByArm(bucket_counts([0.1] * 150), bucket_counts([0.1] * 7))})
)


def verdict(name, outcome, canary=1000, stable=1000) -> Verdict:
    return Verdict(
        name, outcome, f"{outcome}: as told", 1.2, 4.6, 4.6, canary=canary, stable=stable
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
def test_many_verdicts_are_one(outcomes, required, expected, by):
    """A fail of any, an error of a required one, a pass of all of them."""
    verdicts = [verdict(name, VerdictOutcome(outcome)) for name, outcome in outcomes.items()]
    found = assess(verdicts, frozenset(required))
    assert (expected, by) == (found.outcome, found.guardrail)
    if by is not None:
        assert f"{by} {expected}: as told" == found.message


def test_what_counts_something_else_than_requests_has_its_own_idea_of_enough():
    """A step's samples are requests, also where keys must pass."""
    keys = replace(verdict("b", VerdictOutcome.PASS, 40, 800), unit="keys")
    found = assess([verdict("a", VerdictOutcome.PASS, 500, 9000), keys], frozenset("ab"))
    assert (500, 9000) == (found.canary, found.stable)


@pytest.mark.parametrize(
    ("keys", "step", "required"),
    [(9, {}, False), (10, {}, True), (10, {"must_pass": ["latency"]}, False)],
)
def test_a_guardrail_may_bind_once_it_has_evidence(keys, step, required):
    """Unless the step says itself what must pass."""
    steps = [{"weight": 10, **step}]
    suite = GuardrailSuite.of(
        plan(steps=steps, guardrails={"quality": {"enough_keys": 10}}), EDGES, attempt=1
    )
    many = KeyCounts((keys, *[0] * (len(SHARES) - 1)))
    look = Measurement(Counters(keys=KeyCountsByArm(many, many)))
    _, assessment = suite.update(Evidence(EDGES), look, 0)
    assert required is ("quality" in assessment.required)


def test_samples_are_those_of_the_required_guardrail_that_has_seen_the_fewest():
    verdicts = [
        verdict("a", VerdictOutcome.PASS, 500, 9000),
        verdict("b", VerdictOutcome.PASS, 400, 8000),
        verdict("c", VerdictOutcome.INCONCLUSIVE, 3, 5),
    ]
    found = assess(verdicts, frozenset("ab"))
    assert (400, 8000) == (found.canary, found.stable)
    assert [True, True, False] == [v["required"] for v in found.to_json()]


def test_alpha_is_split_over_attempts_and_guardrails():
    """However often a canary is started again, the shares stay within alpha."""
    assert [0.75, 1 / 8, 1 / 24] == pytest.approx([alpha_share(k) for k in (1, 2, 3)])
    assert 1 > sum(map(alpha_share, range(1, 10_000))) > 0.999
    for attempt in (1, 2, 7):
        suite = GuardrailSuite.of(QUICK, EDGES, attempt)
        spent = sum(guardrail.bounds.fail for guardrail in suite.guardrails)
        assert QUICK.alpha * alpha_share(attempt) == pytest.approx(spent)
        for guardrail in suite.guardrails:
            assert QUICK.alpha * alpha_share(attempt) == guardrail.bounds.passing


def test_every_guardrail_of_the_plan_is_built_under_its_name():
    assert set(GUARDRAIL_NAMES) == {name for name, _ in QUICK.guardrails}
    everything = {name: {"enabled": True} for name in GUARDRAIL_NAMES}
    suite = GuardrailSuite.of(plan(guardrails=everything), EDGES, 1)
    assert list(GUARDRAIL_NAMES) == [guardrail.name for guardrail in suite.guardrails]


def test_one_that_breaks_is_an_error_and_the_others_go_on(monkeypatch):
    """It keeps what it had seen; the next look that works counts again."""
    suite = GuardrailSuite.of(QUICK, EDGES, 1)
    evidence, _ = suite.update(Evidence(EDGES), LOOK, 0)

    def broken(self, state, look):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(LatencyGuardrail, "update", broken)
        after, found = suite.update(evidence, LOOK, 0)
    assert (VerdictOutcome.ERROR, "latency") == (found.outcome, found.guardrail)
    assert "latency error: a bug" == found.message
    assert evidence.states["latency"] == after.states["latency"]
    assert VerdictOutcome.INCONCLUSIVE is suite.update(after, LOOK, 0)[1].outcome


def test_what_could_not_be_read_is_an_error_of_all():
    found = GuardrailSuite.of(QUICK, EDGES, 1).error("no route to host", 0)
    assert VerdictOutcome.ERROR is found.outcome
    assert {VerdictOutcome.ERROR} == {v.outcome for v in found.verdicts}


def test_a_step_may_say_what_must_pass():
    steps = [{"weight": 10, "must_pass": ["latency"]}, {"weight": 50}]
    found = plan(steps=steps)
    assert frozenset({"latency"}) == found.must_pass(0)
    assert QUICK.guardrails.required == found.must_pass(1)


def test_evidence_of_another_step_keeps_the_case_against():
    suite = GuardrailSuite.of(QUICK, EDGES, 1)
    evidence = Evidence(EDGES)
    for _ in range(3):
        evidence, before = suite.update(evidence, LOOK, 0)
    after = suite.assess(evidence.next_step(), 1)
    for old, new in zip(before.verdicts, after.verdicts, strict=True):
        assert (0, 0, 0) == (new.log_pass, new.canary, new.stable)
        assert math.isclose(old.log_fail, new.log_fail, abs_tol=1e-9)
