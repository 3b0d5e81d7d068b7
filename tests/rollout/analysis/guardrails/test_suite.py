"""The guardrails together: which are on, what each may spend, what they say as one."""

from __future__ import annotations

import math

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm, KeyCounts, KeyCountsByArm
from service.rollout.analysis.e_process import alpha_share
from service.rollout.analysis.guardrails.evidence import Evidence
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.latency import LatencyGuardrail
from service.rollout.analysis.guardrails.registry import GUARDRAIL_NAMES
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.types import SHARES
from tests.support.rollout_fakes import EDGES, QUICK, bucket_counts, plan

MEASUREMENT = Measurement(
    Counters({"step": CountsByArm(bucket_counts([0.1] * 150), bucket_counts([0.1] * 7))})
)


@pytest.mark.parametrize(
    ("keys", "step", "required"),
    [(9, {}, False), (10, {}, True), (10, {"must_pass": ["latency"]}, False)],
)
def test_a_guardrail_may_bind_once_it_has_evidence(keys, step, required):
    """Unless the step names what must pass."""
    steps = [{"weight": 10, **step}]
    suite = guardrail_suite(
        plan(steps=steps, guardrails={"quality": {"enough_keys": 10}}), EDGES, attempt=1
    )
    many = KeyCounts((keys, *[0] * (len(SHARES) - 1)))
    run = Measurement(Counters(keys=KeyCountsByArm(many, many)))
    _, assessment = suite.update(Evidence(EDGES), run, 0)
    assert required is ("quality" in assessment.required)


def test_alpha_is_split_over_attempts_and_guardrails():
    """However often a canary is started, the shares sum to less than alpha."""
    assert [0.75, 1 / 8, 1 / 24] == pytest.approx([alpha_share(k) for k in (1, 2, 3)])
    assert 1 > sum(map(alpha_share, range(1, 10_000))) > 0.999
    for attempt in (1, 2, 7):
        suite = guardrail_suite(QUICK, EDGES, attempt)
        spent = sum(guardrail.bounds.fail for guardrail in suite.guardrails)
        assert QUICK.alpha * alpha_share(attempt) == pytest.approx(spent)
        for guardrail in suite.guardrails:
            assert QUICK.alpha * alpha_share(attempt) == guardrail.bounds.passing


def test_every_guardrail_of_the_plan_is_built_under_its_name():
    assert set(GUARDRAIL_NAMES) == {name for name, _ in QUICK.guardrails}
    everything = {name: {"enabled": True} for name in GUARDRAIL_NAMES}
    suite = guardrail_suite(plan(guardrails=everything), EDGES, 1)
    assert list(GUARDRAIL_NAMES) == [guardrail.name for guardrail in suite.guardrails]


def test_a_guardrail_that_raises_is_an_error_and_the_others_continue(monkeypatch):
    """It keeps its state; the next run that works continues."""
    suite = guardrail_suite(QUICK, EDGES, 1)
    evidence, _ = suite.update(Evidence(EDGES), MEASUREMENT, 0)

    def broken(self, state, run):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(LatencyGuardrail, "update", broken)
        after, found = suite.update(evidence, MEASUREMENT, 0)
    assert (VerdictOutcome.ERROR, "latency") == (found.outcome, found.guardrail)
    assert "latency error: a bug" == found.message
    assert evidence.states["latency"] == after.states["latency"]
    assert VerdictOutcome.INCONCLUSIVE is suite.update(after, MEASUREMENT, 0)[1].outcome


def test_unreadable_counters_are_an_error_of_every_guardrail():
    found = guardrail_suite(QUICK, EDGES, 1).error("no route to host", 0)
    assert VerdictOutcome.ERROR is found.outcome
    assert {VerdictOutcome.ERROR} == {v.outcome for v in found.verdicts}


def test_a_step_may_say_what_must_pass():
    steps = [{"weight": 10, "must_pass": ["latency"]}, {"weight": 50}]
    found = plan(steps=steps)
    assert frozenset({"latency"}) == found.must_pass(0)
    assert QUICK.guardrails.required == found.must_pass(1)


def test_evidence_of_another_step_keeps_the_case_against():
    suite = guardrail_suite(QUICK, EDGES, 1)
    evidence = Evidence(EDGES)
    for _ in range(3):
        evidence, before = suite.update(evidence, MEASUREMENT, 0)
    after = suite.assess(evidence.next_step(), 1)
    for old, new in zip(before.verdicts, after.verdicts, strict=True):
        assert (0, 0, 0) == (new.log_pass, new.canary, new.stable)
        assert math.isclose(old.log_fail, new.log_fail, abs_tol=1e-9)
