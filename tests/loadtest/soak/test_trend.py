"""The growth of a measurement and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.soak.trend import fit_trend


def test_a_line_grows_by_its_slope_times_the_time():
    trend = fit_trend(range(0, 101, 2), [5 + 0.5 * at for at in range(0, 101, 2)])

    assert pytest.approx(50) == trend.growth
    assert pytest.approx(50) == trend.low
    assert trend.exceeds(49)
    assert not trend.exceeds(51)


def test_flat_noise_holds_zero_in_its_interval_about_19_times_in_20():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        trend = fit_trend(range(120), random.normal(100, 5, 120))
        held += trend.low <= 0 <= trend.high

    assert 0.92 <= held / 400 <= 0.98


def test_a_leak_under_noise_is_found():
    random = np.random.default_rng(2)
    values = [300 + 0.5 * at + random.normal(0, 5) for at in range(240)]

    assert fit_trend(range(240), values).exceeds(100)


def test_gaps_are_left_out():
    values = [math.nan if at % 7 == 0 else float(at) for at in range(60)]

    assert pytest.approx(58) == fit_trend(range(60), values).growth


def test_too_few_measurements_prove_nothing():
    assert not fit_trend([0, 1, 2], [0.0, 10.0, 20.0]).exceeds(0)
