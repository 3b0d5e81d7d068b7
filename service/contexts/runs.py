"""What to run so that a context has the states it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.inference.window import starts
from service.manifest import Manifest
from service.types import State, Vectors


@dataclass(frozen=True)
class Run:
    """`vectors` to run from `state`, a cold one if None, so that it stands for `start` on."""

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
    """From `length` vectors read, whose `states` are by the position each begins at, to
    `after` of them; the first run answers. `tail(n)` is the last n of all `after`.

    Where a state is missing (past the window, or none at all) its run reads what it
    stands for anew.
    """
    runs = []
    for start in starts(manifest.window_policy, manifest.context_window, after):
        state = states.get(start)
        runs.append(Run(start, state, tail(after - (start if state is None else length))))
    return runs
