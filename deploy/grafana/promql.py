# ruff: noqa: INP001 - a script's folder, not a package
"""The queries that several panels share."""

from __future__ import annotations

ARMS = 'variant=~"stable|canary"'
# What the guardrail times: a caller who left had waited at least that long.
TIMED = 'outcome=~"ok|cancelled"'
FAULTS = 'outcome=~"error|timeout"'
SERVED = 'outcome=~"ok|cancelled|error|timeout"'


def quantile(q: float, metric: str, by: str = "variant", match: str = ARMS) -> str:
    """A percentile over `$window`, in seconds, of each `by`."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{match}}}[$window])))"


def answered(arms: str = ARMS, by: str = "variant", q: float = 0.95) -> str:
    """A percentile of the duration of requests that were answered."""
    return quantile(q, "nextvec_request_duration_seconds", by, f"{arms}, {TIMED}")


def requests(match: str, by: str) -> str:
    """Requests a second over `$window`."""
    series = f"nextvec_request_duration_seconds_count{{{match}}}"
    return f"sum by ({by}) (rate({series}[$window]))"


CANARY_P95 = answered('variant="canary"', "")
STABLE_P95 = answered('variant="stable"', "")
P95_RATIO = f"{CANARY_P95} / {STABLE_P95}"
