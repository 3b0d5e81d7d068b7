"""One caller's vectors on their way through an engine, and what comes of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from service.compact_rows import CompactRow
from service.types import State, Vector, Vectors

logger = logging.getLogger(__name__)


class EngineResult(NamedTuple):
    """The result of one job; durations in seconds.

    `states` are the states after each chunk, as (vectors of the whole context, state); empty
    unless the job asked for them. `row` is the vector that ran, in 8 bits, if it was put into
    them with others of its batch; it keeps the batch in memory.
    """

    vector: Vector
    state: State
    queue_seconds: float
    inference_seconds: float
    states: tuple[tuple[int, State], ...] = ()
    row: CompactRow | None = None


class Waiter(Protocol):
    """Who waits for a job: a future, or what acts as one. All calls are on the event loop."""

    def done(self) -> bool:
        """Whether nobody waits any more. Any thread may ask."""
        ...

    def set_result(self, result: EngineResult, /) -> None:
        """The job has ended."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """The job has failed."""
        ...


@dataclass(eq=False, slots=True)
class Job:
    """`vectors` `[n, dim]` to run from `state`, `done` of them so far.

    `offset` is the number of context vectors that `state` stands for. `exact` runs the end of
    a context in the precision of its beginning, where steps have a lower one. A job whose
    `future` is done is dropped. `failed`: the engine returned NaN or Inf for it.
    """

    vectors: Vectors
    state: State
    future: Waiter
    submitted: float
    offset: int = 0
    keep_states: bool = False
    exact: bool = False
    done: int = 0
    inference_seconds: float = 0.0
    vector: Vector | None = None
    states: list[tuple[int, State]] = field(default_factory=list)
    failed: bool = False
    row: CompactRow | None = None

    @property
    def remaining(self) -> int:
        """Vectors that are still to run."""
        return len(self.vectors) - self.done

    def next_run(self, chunk: int) -> int:
        """How many vectors to run next; runs end at multiples of `chunk` of the context."""
        return min(chunk - (self.offset + self.done) % chunk, self.remaining)


def settle(outcomes: Iterable[tuple[Job, EngineResult | Exception]]) -> None:
    """Hand results and errors to the callers that still wait. Call it on the event loop.

    A caller that fails to take its own is logged; the others get theirs.
    """
    for job, outcome in outcomes:
        if job.future.done():
            continue
        try:
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)
        except Exception:
            logger.exception("the outcome of a job could not be handed over")
