"""The window policies: where the states of a session begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contexts.window import starts


@pytest.mark.parametrize(
    ("policy", "length", "expected"),
    [
        ("exact", 1, (0,)),
        ("exact", 8, (0,)),
        ("exact", 9, (1,)),
        ("anchored", 1, (0,)),
        ("anchored", 4, (0,)),
        ("anchored", 5, (0, 4)),
        ("anchored", 8, (0, 4)),
        ("anchored", 9, (4, 8)),
        ("anchored", 12, (4, 8)),
        ("anchored", 13, (8, 12)),
    ],
)
def test_starts_for_a_window_of_eight(policy, length, expected):
    assert expected == starts(policy, 8, length)


@given(st.integers(1, 40), st.integers(1, 200))
def test_anchored_reads_between_half_a_window_and_a_whole_one(window, length):
    """Everything while it fits the window; the first state was the second one before."""
    first, *_ = starts("anchored", window, length)
    read = length - first
    assert read <= window
    if length <= window:
        assert first == 0
    else:
        assert read > window - max(1, window // 2)
        assert window == 1 or first in starts("anchored", window, length - 1)
