"""What a message repeats of a caller's text."""

from __future__ import annotations

import pytest

from service.errors import quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("abc", "'abc'"),
        ("x" * 10_000_000, repr("x" * 80 + "…")),
        (12, "12"),
        (10**5000, "a number of more than 64 bits"),
        (-(10**30), "a number of more than 64 bits"),
        ({"a": "x" * 1000}, "an object"),
        ([1] * 1000, "a list"),
        (None, "None"),
        (True, "True"),
    ],
    ids=range(9),
)
def test_a_value_is_cut_before_it_is_copied(value, shown):
    assert shown == quoted(value)
