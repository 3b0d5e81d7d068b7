"""Ratios on the bucket edges."""

from __future__ import annotations

import pytest

from service.metrics import BUCKET_RATIO
from service.rollout.analysis.bucket_edges import EDGE_GROWTH, edge_distance, ratio_problem


def test_the_histograms_grow_by_the_same_factor():
    assert BUCKET_RATIO == EDGE_GROWTH


@pytest.mark.parametrize(("ratio", "distance"), [(1.2, 2), (1.0954, 1), (1.44, 4), (2.986, 12)])
def test_powers_of_the_bucket_width_lie_on_edges(ratio, distance):
    assert ratio_problem(ratio) is None
    assert distance == edge_distance(ratio)


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.25, 2.5])
def test_other_ratios_are_refused_with_those_that_are_valid(ratio):
    assert "1.095, 1.2, 1.315" in ratio_problem(ratio)
