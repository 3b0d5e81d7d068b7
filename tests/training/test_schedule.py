"""The learning rate rises linearly, then falls along a cosine to 0."""

from __future__ import annotations

import pytest

from training.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.25), (3, 1.0), (4, 1.0), (8, 0.5), (12, 0.0), (99, 0.0)]
)
def test_the_factor_of_a_step(step: int, factor: float) -> None:
    """Four steps of warm-up of twelve in total; it stays at 0 past the end."""
    assert pytest.approx(factor) == learning_rate_factor(step, warm_up=4, total=12)


def test_a_run_shorter_than_its_warm_up_has_a_rate() -> None:
    assert learning_rate_factor(0, warm_up=1, total=1) == 1.0
