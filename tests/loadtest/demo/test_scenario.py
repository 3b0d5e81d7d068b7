"""The demo's decisions: how fast, what next, and whether an act ended as it must."""

from __future__ import annotations

import re

import pytest

from loadtest.demo import scenario
from loadtest.demo.scenario import ACTS, NextAction
from loadtest.report.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from service.rollout.analysis.e_process import alpha_share
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.rollout_status import status

RECOMPUTED, SESSIONS = ACTS


def sample(**changes):
    return parse_sample(status(**changes), 1.0)


def answered(version, status_code=200):
    return RequestLog(1.0, 0.0, 0.1, status_code, "stable", version)


ROLLED_BACK = {
    "phase": "RolledBack",
    "reason": "guardrail_failed",
    "weight": {"set_percent": 0.0},
}
PROMOTED = {"phase": "Healthy", "stable": "phase-3", "weight": {"set_percent": 0.0}}


@pytest.mark.parametrize(("number", "act"), list(enumerate(ACTS, start=1)))
def test_the_plans_keep_the_services_own_test(number, act):
    """The service takes them; waits and sample counts are smaller than its defaults, and the
    second attempt of one canary is given as much alpha as a first one, or nearly."""
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
        (SESSIONS, 0.0001, 150.0),
        (SESSIONS, 1.0, 20.0),
    ],
)
def test_the_rate_is_a_share_of_what_the_machine_can_do_within_bounds(act, seconds, expected):
    """A machine half as fast is asked half as often."""
    assert expected == pytest.approx(scenario.choose_rate(act, seconds))


@pytest.mark.parametrize(
    ("asked", "median", "expected"),
    [(5.0, 0.15, None), (5.0, 0.2, None), (5.0, 0.3, 3.0), (1.2, 0.3, 1.0), (1.0, 9.0, None)],
)
def test_the_rate_is_lowered_where_requests_wait_for_each_other(asked, median, expected):
    """A request alone takes 0.1 s here; at the slowest rate there is nothing to lower."""
    assert expected == scenario.reduced_rate(RECOMPUTED, asked, 0.1, median)


@pytest.mark.parametrize(
    ("elapsed", "expected"), [(30.0, 165.0), (250.0, 90.0), (400.0, 90.0), (220.0, 120.0)]
)
def test_an_act_may_take_what_is_left_of_the_whole_but_never_too_little(elapsed, expected):
    """A slow export must not fail an act before it begins."""
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
        (ROLLED_BACK, NextAction.STOP),
        (PROMOTED, NextAction.STOP),
        ({"phase": "RolledBack", "generation": 2}, NextAction.WAIT),
    ],
)
def test_the_next_move_follows_from_the_phase(changes, expected):
    """A status from before the start says nothing about this rollout."""
    assert expected is scenario.next_action(sample(**changes), generation=3)


@pytest.mark.parametrize(
    ("act", "changes", "version"),
    [(RECOMPUTED, ROLLED_BACK, "phase-2"), (SESSIONS, PROMOTED, "phase-3")],
)
def test_an_act_that_ends_as_it_must_has_no_problems(act, changes, version):
    """And every request after its end goes where it must."""
    assert [] == scenario.find_problems(act, sample(**changes), [answered(version)] * 3)


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
def test_an_act_that_ends_otherwise_says_what_is_wrong(act, changes, later, expected):
    """The phase, the reason, the weight, or where the requests went."""
    found = scenario.find_problems(act, sample(**changes), [answered(version) for version in later])
    assert any(re.search(expected, problem) for problem in found), found


def test_a_failed_request_after_the_end_is_a_problem():
    """A rollback must lose nobody."""
    later = [answered("phase-2"), answered("", 503)]
    (problem,) = scenario.find_problems(RECOMPUTED, sample(**ROLLED_BACK), later)
    assert problem.startswith("1 of 2 later requests failed")


def test_the_share_of_phase_3_is_its_weight_and_all_after_its_promotion():
    """The admin API's weight is the canary's, and after a promotion there is none."""
    assert (25.0, 100.0) == (
        scenario.canary_share(sample()),
        scenario.canary_share(sample(**PROMOTED)),
    )


def test_the_deciding_look_is_the_last_one_with_a_verdict():
    """Later looks may come before the evidence is cleared."""
    passed = status()["guardrails"][0] | {"outcome": "pass", "message": "pass: ln E"}
    looks = [sample(), sample(guardrails=[passed]), sample(guardrails=[])]
    decided = scenario.deciding_sample(looks)
    assert decided is not None
    assert decided.verdict == "pass: ln E"
    assert scenario.deciding_sample(looks[:1]) is None


def test_p95_by_version_is_of_requests_due_within_the_rollout():
    """Warm or not, but none from before it or after it."""
    requests = [RequestLog(at, 0.0, at / 10, 200, "stable", "phase-2") for at in (1.0, 2.0, 3.0)]
    assert {"phase-2": pytest.approx(0.2)} == scenario.p95_by_version(requests, 2.0, 3.0)
