"""PromQL expressions that several panels share."""

from __future__ import annotations

import re

_SELECTOR = re.compile(r"\b(nextvec_\w+)(?:\{([^}]*)\})?")

ARMS = 'variant=~"stable|canary"'
FAULTS = 'outcome=~"error|timeout"'
SERVED = 'outcome=~"ok|cancelled|error|timeout"'


def quantile(q: float, metric: str, by: str = "variant", match: str = ARMS) -> str:
    """The `q`-quantile of a histogram over `$window` in seconds, grouped `by` labels."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{match}}}[$window])))"


def answered_quantile(arms: str = ARMS, by: str = "variant", q: float = 0.95) -> str:
    """The `q`-quantile of the duration of answered requests, and of those whose caller left.

    A caller that left had waited at least that long.
    """
    return quantile(q, "nextvec_request_duration_seconds", by, arms)


def request_rate(match: str, by: str) -> str:
    """Requests per second over `$window`, grouped `by` labels."""
    series = f"nextvec_requests_total{{{match}}}"
    return f"sum by ({by}) (rate({series}[$window]))"


CANARY_P95 = answered_quantile('variant="canary"', "")
STABLE_P95 = answered_quantile('variant="stable"', "")
RATIO_LIMIT = '(max(nextvec_guardrail_ratio_limit{guardrail="latency"}) or vector(1.2))'
"""That of the rollout's plan; without a rollout, a plan's default."""
LIMITED_P95 = f"{RATIO_LIMIT} * {STABLE_P95}"
P95_RATIO = f"{CANARY_P95} / {STABLE_P95}"


def of_instances(expr: str) -> str:
    """The expression for the instances that are chosen on the dashboard."""

    def select(found: re.Match[str]) -> str:
        matchers = ", ".join(filter(None, [found[2], 'instance=~"$instance"']))
        return f"{found[1]}{{{matchers}}}"

    return _SELECTOR.sub(select, expr)
