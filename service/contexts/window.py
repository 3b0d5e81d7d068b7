"""What a session's states begin at, now that it is so long: the window policies.

Both are functions of the length alone, so that an answer never depends on the
pieces in which the vectors came, and can always be recomputed:

- `exact`: the answer is that of the last window. Past it every answer needs
  the whole window again, for its beginning moves.
- `anchored`: beginnings lie half a window apart. The answer reads from the
  first one that is at most a window back, so between half a window and a whole
  one, and a second state, begun half a window later, is kept up beside it to
  take over. A step past half a window costs two rows, and never more.
"""

from __future__ import annotations

from typing import Literal

Policy = Literal["exact", "anchored"]


def starts(policy: Policy, window: int, length: int) -> tuple[int, ...]:
    """Where the states of a session of `length` ≥ 1 vectors begin; the first one answers."""
    if policy == "exact":
        return (max(0, length - window),)
    half = max(1, window // 2)
    first = half * max(0, -((window - length) // half))
    return (first,) if length <= first + half else (first, first + half)
