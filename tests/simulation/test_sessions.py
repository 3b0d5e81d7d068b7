"""Simulated sessions and their scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.types import KEY_SAMPLE
from simulation.sessions import (
    RandomSample,
    SessionLengths,
    SimulatedSessions,
    draw_sessions,
    score_by_key,
)


def test_traffic_is_as_described():
    """Rate, weight and the spread of the keys, including sessions running at the start."""
    settings = SimulatedSessions(rate=50.0, length=40.0, horizon=1000.0)
    rng = np.random.default_rng(5)
    for lengths in SessionLengths:
        sessions = draw_sessions(replace(settings, lengths=lengths), 0.05, rng)
        served = sessions.predictions_until(1000.0)
        assert served.sum() == pytest.approx(50_000, rel=0.15)
        assert sessions.predictions_until(100.0).sum() == pytest.approx(5_000, rel=0.2)
        assert served[sessions.canary].sum() / served.sum() == pytest.approx(0.05, rel=0.5)
        assert sessions.hit.mean() == pytest.approx(0.6, abs=0.03)
        assert sessions.hit.std() == pytest.approx(0.2, abs=0.02)


def test_a_key_is_scored_once_it_has_its_sample():
    """Nine of ten predictions are scored; three of four, a minute after the last one."""
    sessions = RandomSample(
        began=np.array([100.0, 100.0]),
        length=np.array([10.0, 4.0]),
        pause=2.0,
        hit=np.array([1.0, 0.0]),
        canary=np.array([True, False]),
    )
    scores = score_by_key(sessions, np.random.default_rng(0))
    assert [100 + KEY_SAMPLE * 2.0, 100 + 4 * 2.0 + 60] == scores.at.tolist()
    assert [1.0, 0.0] == scores.share.tolist()
