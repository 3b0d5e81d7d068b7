"""The log of a request, and the header it reads."""

from __future__ import annotations

import pytest

from loadtest.generator.request_log import server_timing


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("queue;dur=1.5, inference;dur=20, total;dur=22.25", (0.0015, 0.02, 0.02225)),
        ('total;desc="all";dur=3', (None, None, 0.003)),
        ("queue;dur=fast, total", (None, None, None)),
        ("", (None, None, None)),
    ],
)
def test_server_timing_is_parsed_in_seconds_and_invalid_entries_are_skipped(header, expected):
    """The header is in milliseconds."""
    found = server_timing(header)
    assert expected == tuple(found.get(name) for name in ("queue", "inference", "total"))
