"""A trial reports whether its rollout ended as expected."""

from __future__ import annotations

import pytest

from loadtest.generator.open_loop import OpenLoopDriver
from loadtest.generator.request_log import RequestLog
from loadtest.rollout_client import parse_sample
from loadtest.trial.trial import PLAN, Trial
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.fakes import FakeClock
from tests.support.rollout_status import status


@pytest.mark.parametrize(
    ("phases", "expected_rollback", "after", "problem"),
    [
        (["Progressing", "Paused"], False, None, None),
        (["Progressing", "RolledBack"], True, 2.0, None),
        (["Progressing", "RolledBack"], False, 2.0, "the canary was rolled back"),
        (["Progressing", "Paused"], True, None, "the canary was not rolled back"),
        ([], True, None, "never read"),
    ],
)
def test_an_unexpected_ending_is_a_problem(phases, expected_rollback, after, problem):
    """Only a degraded canary is expected to be rolled back."""
    trial = Trial(expected_rollback, OpenLoopDriver([], FakeClock()), started=1.0)
    trial.samples += [parse_sample(status(phase=p), 2.0 + i) for i, p in enumerate(phases)]
    assert after == trial.rollback_seconds
    assert (problem or "") in " ".join(trial.problems())
    assert (problem is None) is (not trial.problems())


def test_a_failed_request_is_a_problem():
    """A rollout must not fail requests."""
    trial = Trial(expected_rollback=False, driver=OpenLoopDriver([], FakeClock()))
    trial.samples.append(parse_sample(status(phase="Progressing"), 1.0))
    trial.requests.append(RequestLog(1.0, 0.0, 0.1, 500, error="boom"))
    assert ["1 requests failed: boom"] == trial.problems()


def test_the_service_accepts_the_plan():
    """It keeps the service's latency guardrail."""
    plan = RolloutPlan.model_validate(PLAN)
    assert (RolloutPlan().alpha, RolloutPlan().ratio) == (plan.alpha, plan.ratio)
