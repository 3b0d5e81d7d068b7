"""The rules a model has to beat, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training import baselines
from training.baselines import BaselineRule, decayed_mean

STREAM = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)
TARGETS = np.array([1, 2, 3])


def _unit(*rows: tuple[float, float]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1.0,), [(1, 0), (0, 1), (0.6, 0.8)]),
        # The first target has but one vector before it.
        ((1.0, 1.0), [(1, 0), (1, 1), (0.6, 1.8)]),
        ((1.0, 0.5), [(1, 0), (0.5, 1), (0.6, 1.3)]),
    ],
)
def test_a_rule_weighs_what_came_before(
    weights: tuple[float, ...], expected: list[tuple[float, float]]
) -> None:
    """The nearest vector first; the sum stops at the start of the stream."""
    predicted = BaselineRule("rule", weights).predict(STREAM, TARGETS)
    np.testing.assert_allclose(predicted, _unit(*expected), atol=1e-6)


def test_a_rule_never_sees_its_target() -> None:
    """Nor does it read what comes after it."""
    changed = STREAM.copy()
    changed[2:] = [0, -1]
    rule = BaselineRule("rule", (1.0, 0.7, 0.3))
    np.testing.assert_array_equal(
        rule.predict(STREAM, np.array([2])), rule.predict(changed, np.array([2]))
    )


def test_the_centre_is_taken_out() -> None:
    """Position 2: (0, 1) - c and half of (1, 0) - c, with c = (0.5, 0.5)."""
    rule = decayed_mean(0.5, np.array([0.5, 0.5], np.float32))
    np.testing.assert_allclose(rule.predict(STREAM, np.array([2])), _unit((-0.25, 0.25)), atol=1e-6)


def test_nothing_to_go_by_gives_zeros_not_nan() -> None:
    """A vector equal to the centre contributes nothing."""
    rule = BaselineRule("rule", (1.0,), np.array([1, 0], np.float32))
    assert [[0.0, 0.0]] == rule.predict(STREAM, np.array([1])).tolist()


def _normalised(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def test_the_decay_fits_the_training_stream() -> None:
    """Noise around a topic favours a slow decay; a stream that turns evenly, a fast one."""
    rng = np.random.default_rng(0)
    themes = np.repeat(rng.standard_normal((30, 16)), 50, axis=0)
    noisy = baselines.best_decay(_normalised(themes + 2 * rng.standard_normal((1500, 16))))
    angle = np.linspace(0, 60 * np.pi, 1500)
    turning = baselines.best_decay(_normalised(np.stack([np.cos(angle), np.sin(angle)], axis=1)))
    assert 0.3 == turning.weights[1]
    assert 0.7 <= noisy.weights[1]


def test_the_rules_are_named_and_the_decay_is_stated() -> None:
    """The same values as in the report."""
    rng = np.random.default_rng(0)
    *simple, last, running = baselines.all_rules(_normalised(rng.standard_normal((50, 8))))
    assert ["repeat the last vector", "mean of the last 2", "mean of the last 5"] == [
        rule.name for rule in simple
    ]
    assert f"decayed centred mean of 20 (decay {last.weights[1]})" == last.name
    assert 20 == len(last.weights)
    assert running.name == last.name.replace("centred mean", "mean around the running centre")
    assert running.weights == last.weights


def test_the_running_centre_is_the_mean_of_what_came_before() -> None:
    stream = _normalised(np.random.default_rng(0).standard_normal((30, 8)))
    targets = np.array([25, 1, 7])
    rule = baselines.RunningCentreRule("rule", (1.0, 0.5))
    predicted = rule.predict(stream, targets)
    for row, target in enumerate((25, 1, 7)):
        centre = stream[:target].mean(axis=0)
        expected = stream[0]  # the second vector's centre is the first
        if target > 1:
            expected = stream[target - 1] - centre + 0.5 * (stream[target - 2] - centre)
        np.testing.assert_allclose(predicted[row], expected / np.linalg.norm(expected), atol=1e-5)
