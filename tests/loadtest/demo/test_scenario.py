"""The decisions of the demo: request rate, next action, and whether an act ended as expected."""

from __future__ import annotations

import re

import pytest

from loadtest.demo import scenario
from loadtest.demo.scenario import ACTS, NextAction
from loadtest.generator.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from service.rollout.analysis.e_process import alpha_share
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.rollout_status import status

RECOMPUTED, SESSIONS = ACTS


def sample(**changes):
    return parse_sample(status(**changes), 1.0)


def response_of(version, status_code=200):
    return RequestLog(1.0, 0.0, 0.1, status_code, "stable", version)


ROLLED_BACK = {
    "phase": "RolledBack",
    "reason": "guardrail_failed",
    "weight": {"set_percent": 0.0},
}
PROMOTED = {"phase": "Healthy", "stable": "phase-3", "weight": {"set_percent": 0.0}}


@pytest.mark.parametrize(("number", "act"), list(enumerate(ACTS, start=1)))
def test_the_plans_keep_the_services_latency_guardrail(number, act):
    """The service accepts the plans. Only waits and sample counts are smaller than its
    defaults, and the second attempt of the canary has the alpha of a first attempt."""
    plan = RolloutPlan.model_validate(act.plan)
    default = RolloutPlan()
    assert (default.ratio, default.quantile) == (plan.ratio, plan.quantile)
    part = 1.0 if number == 1 else alpha_share(number)
    assert default.alpha == pytest.approx(plan.alpha * part)
    assert plan.steps[-1].approval


@pytest.mark.parametrize(
    ("act", "seconds", "expected"),
    [
        (RECOMPUTED, 0.1, 4.5),
        (RECOMPUTED, 0.3, 1.5),
        (RECOMPUTED, 3.0, 1.0),
        (RECOMPUTED, 0.01, 6.0),
        (SESSIONS, 0.005, 100.0),
        (SESSIONS, 0.0001, 300.0),
        (SESSIONS, 1.0, 20.0),
    ],
)
def test_the_rate_is_a_share_of_the_machines_capacity_within_bounds(act, seconds, expected):
    """A machine that is half as fast gets half the rate."""
    assert expected == pytest.approx(scenario.choose_rate(act, seconds))


@pytest.mark.parametrize(
    ("asked", "median", "expected"),
    [(5.0, 0.15, None), (5.0, 0.2, None), (5.0, 0.3, 3.0), (1.2, 0.3, 1.0), (1.0, 9.0, None)],
)
def test_the_rate_is_reduced_if_requests_queue(asked, median, expected):
    """A single request takes 0.1 s. The slowest rate is not reduced further."""
    assert expected == scenario.reduced_rate(RECOMPUTED, asked, 0.1, median)


@pytest.mark.parametrize(
    ("elapsed", "expected"), [(30.0, 165.0), (250.0, 90.0), (400.0, 90.0), (220.0, 120.0)]
)
def test_an_act_may_use_the_remaining_time_but_has_a_minimum(elapsed, expected):
    """A slow export does not fail an act before it starts."""
    assert expected == scenario.time_limit(RECOMPUTED, elapsed)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": "Pending"}, NextAction.WAIT),
        ({"phase": "WarmingUp"}, NextAction.WAIT),
        ({"phase": "Progressing"}, NextAction.WAIT),
        ({"phase": "Promoting"}, NextAction.WAIT),
        ({"phase": "Aborting"}, NextAction.WAIT),
        ({"phase": "Paused", "reason": "approval"}, NextAction.PROMOTE),
        ({"phase": "Paused", "reason": "inconclusive"}, NextAction.STOP),
        ({"phase": "Paused", "reason": "no_data"}, NextAction.STOP),
        ({"phase": "Paused", "reason": "by_hand"}, NextAction.WAIT),
        (ROLLED_BACK, NextAction.STOP),
        (PROMOTED, NextAction.STOP),
        ({"phase": "RolledBack", "generation": 2}, NextAction.WAIT),
    ],
)
def test_the_next_action_follows_from_the_phase(changes, expected):
    """A status from before the start does not belong to this rollout."""
    assert expected is scenario.next_action(sample(**changes), generation=3)


@pytest.mark.parametrize(
    ("act", "changes", "version"),
    [(RECOMPUTED, ROLLED_BACK, "phase-2"), (SESSIONS, PROMOTED, "phase-3")],
)
def test_an_act_that_ends_as_expected_has_no_problems(act, changes, version):
    """Every request after its end reaches the expected version."""
    assert [] == scenario.find_problems(act, sample(**changes), [response_of(version)] * 3)


@pytest.mark.parametrize(
    ("act", "changes", "later", "expected"),
    [
        (RECOMPUTED, PROMOTED, ["phase-2"], "did not roll phase-3 back: Healthy"),
        (RECOMPUTED, {**ROLLED_BACK, "reason": "aborted"}, ["phase-2"], r"RolledBack \(aborted\)"),
        (RECOMPUTED, ROLLED_BACK, ["phase-2", "phase-3"], "1 of 2 later requests went to phase-3"),
        (RECOMPUTED, ROLLED_BACK, [], "no request was due after the end"),
        (
            RECOMPUTED,
            {**ROLLED_BACK, "weight": {"set_percent": 25.0}},
            ["phase-2"],
            "weight is 25 %, not 0",
        ),
        (SESSIONS, ROLLED_BACK, ["phase-3"], "phase-3 was not promoted: RolledBack"),
        (SESSIONS, PROMOTED, ["phase-2"], "1 of 1 later requests went to phase-2"),
        (SESSIONS, {"phase": "Paused", "reason": "no_data"}, ["phase-3"], r"Paused \(no_data\)"),
    ],
)
def test_an_unexpected_ending_is_explained(act, changes, later, expected):
    """By the phase, the reason, the weight, or the version that got the requests."""
    found = scenario.find_problems(
        act, sample(**changes), [response_of(version) for version in later]
    )
    assert any(re.search(expected, problem) for problem in found), found


def test_a_failed_request_after_the_end_is_a_problem():
    """A rollback must not fail requests."""
    later = [response_of("phase-2"), response_of("", 503)]
    (problem,) = scenario.find_problems(RECOMPUTED, sample(**ROLLED_BACK), later)
    assert problem.startswith("1 of 2 later requests failed")


def test_the_share_of_phase_3_is_its_weight_and_100_after_its_promotion():
    """The weight in the admin API is the canary's; after a promotion there is no canary."""
    assert (25.0, 100.0) == (
        scenario.canary_share(sample()),
        scenario.canary_share(sample(**PROMOTED)),
    )


def test_the_deciding_sample_is_the_last_with_a_verdict():
    """Later samples may have no verdict."""
    passed = status()["guardrails"][0] | {"outcome": "pass", "message": "pass: ln E"}
    samples = [sample(), sample(guardrails=[passed]), sample(guardrails=[])]
    decided = scenario.deciding_sample(samples)
    assert decided is not None
    assert decided.verdict == "pass: ln E"
    assert scenario.deciding_sample(samples[:1]) is None


def test_p95_by_version_covers_requests_due_during_the_rollout():
    """None from before or after it."""
    requests = [RequestLog(at, 0.0, at / 10, 200, "stable", "phase-2") for at in (1.0, 2.0, 3.0)]
    assert {"phase-2": pytest.approx(0.2)} == scenario.p95_by_version(requests, 2.0, 3.0)
