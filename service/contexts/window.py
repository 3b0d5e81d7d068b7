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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from service.manifest import Manifest
from service.types import State, Vectors

Policy = Literal["exact", "anchored"]


def starts(policy: Policy, window: int, length: int) -> tuple[int, ...]:
    """Where the states of a session of `length` ≥ 1 vectors begin; the first one answers."""
    if policy == "exact":
        return (max(0, length - window),)
    half = max(1, window // 2)
    first = half * max(0, -((window - length) // half))
    return (first,) if length <= first + half else (first, first + half)


@dataclass(frozen=True)
class Run:
    """Vectors to run from `state` (cold if None); the new state begins at position `start`."""

    start: int
    state: State | None
    vectors: Vectors


def plan_runs(
    manifest: Manifest,
    states: Mapping[int, State],
    length: int,
    after: int,
    tail: Callable[[int], Vectors],
) -> list[Run]:
    """Plan the runs that take a context from `length` vectors to `after`.

    `states` are the kept states after `length` vectors, keyed by the position at which
    each begins. `tail(n)` returns the last n of all `after` vectors. The first run gives
    the prediction. A run without a kept state reads all vectors from its start.
    """
    runs = []
    for start in starts(manifest.window_policy, manifest.context_window, after):
        state = states.get(start)
        runs.append(Run(start, state, tail(after - (start if state is None else length))))
    return runs
