"""The learning-rate schedule."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, warm_up: int, total: int) -> float:
    """Linear warm-up over `warm_up` steps, then cosine decay to 0 at `total`."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))
