"""The one word for how a rollout stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.rollout.analysis.verdict import Assessment, Verdict, VerdictOutcome
from service.rollout.outlook.outlook import BLIND_SECONDS, Outlook, judge_outlook
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.events import Phase, Reason
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from simulation.latency_distribution import LognormalLatency
from simulation.rollout_simulation import simulate_rollout
from simulation.scenario import Scenario, SimulatedTraffic
from tests.support.rollout_fakes import QUICK

NOW = 1_700_000_000.0
INCONCLUSIVE = VerdictOutcome.INCONCLUSIVE


def verdict(name="latency", *, fail=0.0, passing=0.0, outcome=INCONCLUSIVE):
    return Verdict(
        name, outcome, "its arithmetic", 1.2, 6.0, 6.0, fail, passing, canary=100, stable=100
    )


def record(*verdicts, phase=Phase.PROGRESSING, reason=None, outcome=INCONCLUSIVE, heard=NOW):
    rollout = RolloutState(
        "a", phase, canary="b", plan=QUICK, since=NOW, step_since=NOW, reason=reason, warmed=True
    )
    assessment = Assessment(outcome, "", None, 100, 100, verdicts, frozenset({"latency", "errors"}))
    return RolloutRecord(rollout, analysed_at=NOW + 5, assessment=assessment, heard_at=heard)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((verdict(passing=2.1), verdict("errors", passing=2.1)), Outlook.LOOKS_GOOD),
        ((verdict(passing=2.1), verdict("errors", passing=1.9)), Outlook.TOO_EARLY),
        ((verdict(passing=9), verdict("errors", passing=0)), Outlook.TOO_EARLY),
        ((verdict(passing=9), verdict("errors", passing=9), verdict("quality")), "looks_good"),
        (
            (verdict(passing=9), verdict("errors", passing=9), verdict("quality", fail=2.1)),
            Outlook.LEANING_TO_FAIL,
        ),
        ((verdict(fail=2.1, passing=2.2), verdict("errors", passing=9)), Outlook.LOOKS_GOOD),
        ((), Outlook.TOO_EARLY),
    ],
)
def test_the_evidence_decides_while_it_runs(verdicts, expected):
    """A third of the evidence is a leaning; any guardrail may lean to a fail."""
    assert expected == judge_outlook(record(*verdicts))


def test_a_step_that_has_passed_speaks_for_the_canary_in_the_next_one():
    """Until a guardrail leans to a fail; a step that was forced says nothing."""
    quiet, failing = record(verdict()), record(verdict(fail=2.1))
    proven = replace(quiet, rollout=replace(quiet.rollout, proven=True))
    assert Outlook.LOOKS_GOOD is judge_outlook(proven)
    assert Outlook.TOO_EARLY is judge_outlook(quiet)
    assert Outlook.LEANING_TO_FAIL is judge_outlook(replace(proven, assessment=failing.assessment))


HEALTHY = RolloutPlan.model_validate({"steps": [{"weight": 5}, {"weight": 25}, {"weight": 50}]})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", [{}, {"rate": 20.0}, {"ratio": 1.1}, {"drift": 2.0}])
async def test_the_word_for_a_healthy_canary_changes_a_few_times(how, seed):
    """Of hundreds of evaluations in three steps, at most six change it."""
    scenario = Scenario(LognormalLatency(0.05, 0.5), **how)
    words: list[Outlook] = []

    def note(_: float, seen: RolloutRecord) -> None:
        if judge_outlook(seen) not in words[-1:]:
            words.append(judge_outlook(seen))

    traffic, rng = SimulatedTraffic.of(scenario), np.random.default_rng(seed)
    await simulate_rollout(scenario, traffic, HEALTHY, rng, hold=False, observe=note)
    assert Outlook.PROMOTED is words[-1]
    assert len(words) <= 6, words


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.BY_HAND])
def test_a_pause_that_no_person_made_needs_one(reason):
    assert Outlook.NEEDS_YOU is judge_outlook(record(phase=Phase.PAUSED, reason=reason))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(Reason.ABORTED, "stopped"), (Reason.GUARDRAIL_FAILED, "rolled_back")],
)
@pytest.mark.parametrize("phase", [Phase.ABORTING, Phase.ROLLED_BACK])
def test_a_persons_stop_is_no_failure(phase, reason, expected):
    assert expected == judge_outlook(record(phase=phase, reason=reason))


def test_silence_blinds():
    quiet = record(verdict())
    later = replace(quiet, analysed_at=NOW + BLIND_SECONDS)
    assert (Outlook.TOO_EARLY, Outlook.BLIND) == (judge_outlook(quiet), judge_outlook(later))
    heard = replace(later, heard_at=NOW + 30)
    assert Outlook.TOO_EARLY is judge_outlook(heard)
    unread = record(verdict(outcome=VerdictOutcome.ERROR), outcome=VerdictOutcome.ERROR)
    assert Outlook.BLIND is judge_outlook(unread)
