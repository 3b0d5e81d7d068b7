"""B, the bare step, measured again beside everything that is divided by it.

On a host that is shared a millisecond is another one a minute later: B moved by a
third within one run. A ratio to the B of the moment holds where one to the B of the
run's beginning does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from loadtest.bench import bare_engine
from loadtest.bench.timings import Timings
from loadtest.streams import Streams
from service.clock import Clock
from service.inference.engines.engine import Engine

T = TypeVar("T")

_STEPS = 200


class ReferenceStep:
    """The direct export's step, one thread, nothing else of ours running meanwhile."""

    def __init__(self, engine: Engine, streams: Streams, clock: Clock) -> None:
        self._engine = engine
        self._streams = streams
        self._clock = clock
        self.first = self._measure()
        self.history = [self.first.p50]
        """Every B of the run in seconds, in order."""

    def measure_beside(self, measure: Callable[[], T]) -> tuple[T, float]:
        """What `measure` returns, and the mean of B just before and just after it, in seconds."""
        before = self._now()
        found = measure()
        return found, (before + self._now()) / 2

    def _now(self) -> float:
        self.history.append(self._measure().p50)
        return self.history[-1]

    def _measure(self) -> Timings:
        return bare_engine.time_steps(self._engine, self._streams, 1, _STEPS, self._clock)
