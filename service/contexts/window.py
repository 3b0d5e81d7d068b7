"""Window policies: where the states of a session begin, and what to run to keep them up.

Both policies depend on the session's length alone. So a prediction never depends on the
pieces in which the vectors came, and can always be recomputed.

- `exact`: the prediction is that of the last window. A session longer than the window reads
  the whole window for every prediction, because the beginning of the window moves.
- `anchored`: states begin at multiples of half a window. The prediction comes from the first
  such state that is at most one window back, so it reads between half a window and a whole
  one. A second state, which begins half a window later, is kept up to take over. A step then
  costs two rows instead of one, and never more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from service.manifest import Manifest
from service.types import State, Vectors

Policy = Literal["exact", "anchored"]


def starts(policy: Policy, window: int, length: int) -> tuple[int, ...]:
    """Positions where the states of a session of `length` ≥ 1 vectors begin.

    The first state gives the prediction. `window` is in vectors.
    """
    if policy == "exact":
        return (max(0, length - window),)
    half = max(1, window // 2)
    first = half * max(0, -((window - length) // half))
    return (first,) if length <= first + half else (first, first + half)


class Run(NamedTuple):
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
