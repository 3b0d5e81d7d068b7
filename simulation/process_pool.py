"""Work spread over the machine's cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_processes(work: Callable[[T], R], tasks: Sequence[T], processes: int) -> Iterator[R]:
    """The results of `work`, in the order of the tasks."""
    if processes == 1:
        yield from map(work, tasks)
        return
    # Not forked: the caller draws its progress from a thread.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(work, tasks)
