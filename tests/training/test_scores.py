"""Figures and differences, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from service.evaluation_report import METRICS, Estimate
from training import scores
from training.bootstrap import DocumentBootstrap
from training.scores import PositionScores


def _outcome() -> PositionScores:
    """Four axes as candidates: two right, one third, one last of four."""
    predicted = np.eye(4, dtype=np.float32)
    predicted[2] = np.array([0.8, 0.5, 0.3, 0.1]) / np.sqrt(0.99)
    predicted[3] = np.array([0.6, 0.5, 0.4, 0.1]) / np.sqrt(0.78)
    return scores.score_predictions(predicted, np.eye(4, dtype=np.float32))


def test_figures_by_hand() -> None:
    """Ranks 1, 1, 3 and 4."""
    measured = scores.estimates(_outcome(), DocumentBootstrap(np.zeros(4, np.int32)))
    assert list(METRICS) == list(measured)
    assert 0.5 == measured["hit_at_1"].value
    assert 1.0 == measured["hit_at_5"].value == measured["hit_at_10"].value
    assert (1 + 1 + 1 / 3 + 1 / 4) / 4 == pytest.approx(measured["mrr"].value)
    cosine = (2 + 0.3 / 0.99**0.5 + 0.1 / 0.78**0.5) / 4
    assert cosine == pytest.approx(measured["cosine"].value)
    assert measured["mrr"].low == pytest.approx(measured["mrr"].high)


def test_a_difference_is_a_less_b_at_each_position() -> None:
    """Two documents: one where they agree, one where `a` is right alone."""
    cosine = np.zeros(4, np.float32)
    a = PositionScores(np.array([1, 9, 1, 1]), cosine)
    b = PositionScores(np.array([1, 9, 9, 9]), cosine)
    bootstrap = DocumentBootstrap(np.array([0, 0, 1, 1], np.int32))
    items = scores.differences(("new", a), ("old", b), bootstrap)
    by_metric = {item.metric: item.estimate for item in items}
    assert {("new", "old")} == {(item.a, item.b) for item in items}
    assert Estimate(0.5, 0.0, 1.0) == by_metric["hit_at_5"]
    assert Estimate(0.0, 0.0, 0.0) == by_metric["hit_at_10"] == by_metric["cosine"]
