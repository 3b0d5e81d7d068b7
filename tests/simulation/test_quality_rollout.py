"""How often the quality guardrail is right, simulated with the service's own code.

Sessions whose predictions resemble each other; fixed seeds. The bounds leave room for
chance, as an error rate of 1 % may show one rollback in forty.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from service.cli import main
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation.quality_rollout import simulate_quality, simulate_quality_rollouts
from simulation.sessions import (
    SessionLengths,
    SimulatedSessions,
)

PLAN = RolloutPlan()
SHORT = SimulatedSessions(horizon=1800.0)


def rolled_back(sessions, count, seed, **how):
    return [
        p for p in simulate_quality_rollouts(sessions, PLAN, count, (seed,), **how) if p.rolled_back
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sessions",
    [SHORT, replace(SHORT, lengths=SessionLengths.HEAVY), replace(SHORT, length=400.0, spread=0.3)],
    ids=["sessions of 40", "a few heavy ones", "few and long ones"],
)
@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_a_canary_that_complies_is_not_rolled_back(sessions, ratio):
    """0.8 of stable's Hit@5 is exactly what must be kept."""
    assert len(rolled_back(replace(sessions, ratio=ratio), 40, 1)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("lengths", list(SessionLengths))
def test_a_canary_with_half_the_hits_is_found_within_2000_predictions(lengths):
    found = rolled_back(SimulatedSessions(ratio=0.5, lengths=lengths), 40, 2)
    assert 40 == len(found)
    assert sorted(p.predictions for p in found)[20] < 2000


@pytest.mark.slow
def test_predictions_treated_as_independent_would_roll_back_healthy_canaries():
    """This is why a key counts once. The arms are identical."""
    sessions = replace(SHORT, length=400.0, spread=0.3)
    assert len(rolled_back(sessions, 20, 3, by_key=False)) >= 3
    assert not rolled_back(sessions, 20, 3)


def test_an_identical_canary_passes():
    rollouts = simulate_quality_rollouts(replace(SHORT, length=10.0), PLAN, 20, (4,))
    assert sum(p.passed is not None for p in rollouts) >= 19


def test_a_plan_without_the_guardrail_cannot_be_simulated():
    off = RolloutPlan.model_validate({"guardrails": {"quality": {"enabled": False}}})
    with pytest.raises(ValueError, match="turns the guardrail quality off"):
        simulate_quality(SHORT, off, np.random.default_rng(0))


def test_the_command_prints_a_row_for_each_ratio(tmp_path, capsys):
    """The same seed gives the same rollouts, as a table and as JSON."""
    options = ["--rollouts", "3", "--horizon", "600", "--processes", "1", "--compare"]
    options += ["--hit-ratio", "1", "--hit-ratio", "0.4", "--session-length", "10"]
    texts = []
    for _ in range(2):
        assert main(["simulate", "--quality", *options, "--out", str(tmp_path)]) == 0
        texts.append((tmp_path / "quality.json").read_text())
    assert texts[0] == texts[1]
    rows = json.loads(texts[0])["rows"]
    found = [(row["by_key"], row["ratio"], row["rollouts"]) for row in rows]
    assert [(True, 1.0, 3), (True, 0.4, 3), (False, 1.0, 3), (False, 0.4, 3)] == found
    assert 3 == rows[1]["rolled_back"]
    assert "| keys | 0.4× | 100.0 (" in (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "predictions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hit", "0"], "--hit"),
        (["--hit", "0.9", "--hit-ratio", "1.2"], "--hit-ratio"),
        (["--session-length", "0.5"], "--session-length"),
    ],
)
def test_invalid_options_are_refused(options, says):
    with pytest.raises(SystemExit, match=says):
        main(["simulate", "--quality", *options])
