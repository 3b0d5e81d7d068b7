"""The W3C Trace Context header `traceparent`: the caller's trace. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")

_SAMPLED = 0x01


class TraceParent(NamedTuple):
    """A valid header: ids in lower-case hexadecimal, and the flags."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether the caller records the trace."""
        return bool(self.flags & _SAMPLED)

    def __str__(self) -> str:
        """Return the header, in the version that this service writes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & _SAMPLED:02x}"


def parse_traceparent(header: str) -> TraceParent | None:
    """Return the header's content; None for an invalid one, which has to be ignored."""
    found = _FORM.match(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    # A later version may append fields; version 0 has none, and ff is forbidden.
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id, span_id, int(flags, 16))
