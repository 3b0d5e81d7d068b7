"""The latency histograms' geometric bucket edges, as far as guardrails rely on them. Pure."""

from __future__ import annotations

import math

EDGE_GROWTH = math.sqrt(1.2)
"""The ratio of neighbouring bucket edges. A limit on a ratio must be a whole power of it,
so that both τ and ratio·τ are edges."""


def edge_distance(ratio: float) -> int:
    """How many edges lie between τ and ratio·τ."""
    return round(math.log(ratio) / math.log(EDGE_GROWTH))


def ratio_problem(ratio: float) -> str | None:
    """What is wrong with a ratio that does not lead from one bucket edge to another."""
    distance = edge_distance(ratio)
    if distance >= 1 and math.isclose(ratio, EDGE_GROWTH**distance, rel_tol=1e-3):
        return None
    nearest = ", ".join(f"{EDGE_GROWTH**k:.4g}" for k in range(1, 9))
    return f"must be a power of the square root of 1.2, the bucket width: {nearest}, ..."
