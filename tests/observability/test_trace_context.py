"""The caller's `traceparent`: valid ones are taken, all others ignored."""

from __future__ import annotations

import pytest

from service.observability.trace_context import parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"01-{TRACE}-{SPAN}-01-more", True),
    ],
)
def test_a_valid_header_is_taken_and_written_in_version_0(header, sampled):
    found = parse_traceparent(header)

    assert (TRACE, SPAN, sampled) == (found.trace_id, found.span_id, found.is_sampled)
    assert f"00-{TRACE}-{SPAN}-{'01' if sampled else '00'}" == str(found)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_header_is_ignored(header):
    assert parse_traceparent(header) is None
