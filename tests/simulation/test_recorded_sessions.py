"""Sessions that repeat recorded hits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from service.cli import main
from service.rollout.plan.rollout_plan import RolloutPlan
from simulation import recorded_sessions
from simulation.quality_rollout import simulate_quality_rollouts
from simulation.recorded_sessions import RecordedSample, RecordedSessions, RecordingError
from simulation.sessions import score_by_key, score_by_prediction

GOOD = {"format": 1, "text": "mine.npz", "models": {"a": ["0110", "1111"], "b": ["0010", "0100"]}}


def write(tmp_path, content):
    path = tmp_path / "hits.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def recorded(share, seed=0):
    """300 sessions of 40 vectors, whose own shares of hits differ around `share`."""
    rng = np.random.default_rng(seed)
    return rng.random((300, 39)) < rng.beta(8 * share, 8 * (1 - share), (300, 1))


def test_a_recording_is_read(tmp_path):
    found = recorded_sessions.load(write(tmp_path, GOOD))
    assert ("mine.npz", 2, ["a", "b"]) == (found.text, found.sessions, list(found.models))
    assert [[0, 1, 1, 0], [1, 1, 1, 1]] == found.models["a"].astype(int).tolist()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no JSON", "cannot be read"),
        ({**GOOD, "format": 2}, "no recording"),
        ({**GOOD, "models": {}}, "needs text and models"),
        ({**GOOD, "models": {"a": []}}, "a needs a list"),
        ({**GOOD, "models": {"a": ["01", "0"]}}, "equally long"),
        ({**GOOD, "models": {"a": ["0x"]}}, "0 and 1"),
        ({**GOOD, "models": {"a": ["01"], "b": ["01", "10"]}}, "different sessions"),
        ({**GOOD, "models": {"a": ["00", "00"]}}, "never hits"),
    ],
)
def test_other_files_are_refused(tmp_path, content, says):
    with pytest.raises(RecordingError, match=says):
        recorded_sessions.load(write(tmp_path, content))


def test_sessions_repeat_their_record_from_where_they_are():
    """One began five predictions before the start; the other is on the canary."""
    stable = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 0, 0], [1] * 10], bool)
    sessions = RecordedSample(
        began=np.array([-9.0, 10.0]),
        length=np.array([11.0, 11.0]),
        pause=2.0,
        canary=np.array([False, True]),
        record=np.array([0, 1]),
        stable_hits=stable,
        canary_hits=~stable,
    )
    rng = np.random.default_rng(0)
    assert [3 / 5, 0.0] == score_by_key(sessions, rng).share.tolist()
    by_prediction = score_by_prediction(sessions, rng).share
    assert [1, 1, 1, 0, 0] == by_prediction[:5].tolist()
    assert [0] * 10 == by_prediction[5:].tolist()


def test_the_traffic_has_the_rate_and_the_weight():
    traffic = RecordedSessions(recorded(0.6), recorded(0.6), horizon=1000.0)
    sessions = traffic.draw(0.05, np.random.default_rng(1))
    served = sessions.predictions_until(1000.0)
    assert served.sum() == pytest.approx(50_000, rel=0.1)
    assert served[sessions.canary].sum() / served.sum() == pytest.approx(0.05, rel=0.4)


def test_the_same_version_is_kept_and_half_of_the_hits_are_found():
    stable = recorded(0.7)
    halved = stable & (np.random.default_rng(2).random(stable.shape) < 0.5)
    for canary, expected in ((stable, 0), (halved, 20)):
        traffic = RecordedSessions(stable, canary, horizon=1800.0)
        rollouts = simulate_quality_rollouts(traffic, RolloutPlan(), 20, (7,))
        assert expected == sum(one.rolled_back for one in rollouts)


def test_the_command_has_a_row_for_each_version(tmp_path):
    path = write(tmp_path, GOOD)
    options = ["--rollouts", "2", "--horizon", "300", "--processes", "1", "--out", str(tmp_path)]
    command = ["simulate", "--quality", "--hits", str(path), "--stable", "b"]
    assert 0 == main([*command, *options])
    report = json.loads((tmp_path / "quality.json").read_text())
    assert [("a", 3.0), ("b", 1.0)] == [(row["version"], row["ratio"]) for row in report["rows"]]
    assert "| keys | a 3× |" in (tmp_path / "quality.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--quality", "--stable", "c"], "c is not recorded; recorded: a, b"),
        ([], "--hits is for --quality"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, says):
    with pytest.raises(SystemExit, match=says):
        main(["simulate", "--hits", str(write(tmp_path, GOOD)), *options])
