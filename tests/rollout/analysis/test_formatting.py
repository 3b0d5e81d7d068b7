"""Numbers in messages."""

from __future__ import annotations

import pytest

from service.rollout.analysis.formatting import format_count, format_seconds, format_share


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.1701, "170.1 ms"), (0.0001, "0.1 ms"), (1.25, "1.25 s")]
)
def test_seconds(seconds, expected):
    assert expected == format_seconds(seconds)


@pytest.mark.parametrize(
    ("share", "digits", "expected"),
    [
        (0.147, 1, "14.7 %"),
        (0.05, 1, "5 %"),
        (0.0, 1, "0 %"),
        (1.0, 1, "100 %"),
        (0.0005, 2, "0.05 %"),
        (0.2, 0, "20 %"),
        (None, 1, "unknown"),
    ],
)
def test_shares(share, digits, expected):
    assert expected == format_share(share, digits)


def test_counts_agree_with_their_noun():
    assert ["0 requests", "1 request", "2 requests"] == [
        format_count(n, "request") for n in range(3)
    ]
