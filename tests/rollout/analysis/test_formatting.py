"""Numbers in messages."""

from __future__ import annotations

import pytest

from service.rollout.analysis.formatting import (
    format_about,
    format_allowed,
    format_count,
    format_difference,
    format_duration,
    format_seconds,
    format_share,
    format_value_seconds,
    join_words,
    uncapitalised,
)


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


@pytest.mark.parametrize(
    ("seconds", "expected", "about"),
    [
        (-3, "0 s", "0 s"),
        (4.4, "4 s", "4 s"),
        (59.6, "1 min", "60 s"),
        (105, "1 min 45 s", "2 min"),
        (3600, "1 h", "60 min"),
        (9000, "2 h 30 min", "2 h"),
        (86_400, "1 d", "24 h"),
        (90_000, "1 d 1 h", "25 h"),
    ],
)
def test_durations(seconds, expected, about):
    assert (expected, about) == (format_duration(seconds), format_about(seconds))


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (1.041, "is 4 % higher than stable's"),
        (0.95, "is 5 % lower than stable's"),
        (1.004, "is level with stable's"),
        (2.0, "is 2 times stable's"),
        (4.68, "is 4.7 times stable's"),
        (12.3, "is 12 times stable's"),
    ],
)
def test_differences_are_said_in_words(ratio, expected):
    assert expected == format_difference(ratio)


@pytest.mark.parametrize(
    ("limit", "ratio", "expected"),
    [
        (1.2, 0.95, "up to 20 % higher is allowed"),
        (1.0954, 1.5, "up to 9.5 % higher is allowed"),
        (1.44, 4.7, "up to 1.44 times is allowed"),
        (2.0736, 1.01, "up to 2.07 times is allowed"),
    ],
)
def test_limits_are_in_the_words_of_the_difference(limit, ratio, expected):
    assert expected == format_allowed(limit, ratio)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Error rate", "error rate"),
        ("P95 latency", "P95 latency"),
        ("Hit@5", "Hit@5"),
        ("Stable's own P95", "stable's own P95"),
        ("", ""),
    ],
)
def test_labels_inside_a_sentence_are_not_capitalised_unless_they_are_names(label, expected):
    assert expected == uncapitalised(label)


def test_latencies_have_three_digits():
    assert ["7.31 ms", "21.9 ms", "103 ms", "1.25 s"] == [
        format_value_seconds(value) for value in (0.007312, 0.0219, 0.103, 1.25)
    ]


def test_lists_in_sentences():
    assert ["", "a", "a and b", "a, b and c"] == [
        join_words(words) for words in ((), ("a",), ("a", "b"), ("a", "b", "c"))
    ]
