"""How rows are grouped, layers are launched and contexts are sliced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.engines.cuda.launch_plan import group_rows, layers_per_launch, slices


@pytest.mark.parametrize(
    ("multiprocessors", "expected"),
    [(132, 4), (128, 4), (127, 2), (64, 2), (63, 1), (32, 1), (31, 0)],
)
def test_layers_together_is_the_most_that_fits(multiprocessors, expected):
    """Four layers of 512 units take 128 blocks, one per multiprocessor."""
    assert expected == layers_per_launch(4, 512, multiprocessors)


def test_layers_divide_the_stack():
    """Three of four layers would fit, but would leave a launch of one layer."""
    assert 2 == layers_per_launch(4, 512, 100)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40))
def test_every_row_is_in_one_group(lengths):
    """Groups have the kernels' widths. Each row is in exactly one; the longest come first."""
    groups = group_rows(lengths, (4, 2, 1))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    assert {len(group) for group in groups} <= {4, 2, 1}
    ordered = [lengths[row] for group in groups for row in group]
    assert sorted(ordered, reverse=True) == ordered


@given(st.integers(1, 3000))
def test_slices_cover_the_context_in_order(time):
    """Each vector is copied exactly once. The first slice is short."""
    parts = slices(time)
    assert list(range(time)) == [i for part in parts for i in range(part.start, part.stop)]
    assert 64 >= parts[0].stop
