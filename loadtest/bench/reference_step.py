"""The reference step B, measured again next to each figure that is divided by it.

The speed of a shared host changes from minute to minute: B moved by a third within one
run. A ratio to the current B stays comparable; a ratio to the first B does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from loadtest.bench import bare_engine
from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.inference.engines.engine import Engine

T = TypeVar("T")

_STEPS = 200


class ReferenceStep:
    """A step of the direct export on one thread, while nothing else of the benchmark runs."""

    def __init__(self, engine: Engine, streams: Streams, clock: Clock) -> None:
        self._engine = engine
        self._streams = streams
        self._clock = clock
        self.first = self._measure()
        self.history = [self.first.p50]
        """All values of B in seconds, in order."""

    def measure_with_reference(self, measure: Callable[[], T]) -> tuple[T, float]:
        """Call `measure`; return its result and the mean of B before and after, in seconds."""
        before = self._measure_again()
        result = measure()
        return result, (before + self._measure_again()) / 2

    def _measure_again(self) -> float:
        self.history.append(self._measure().p50)
        return self.history[-1]

    def _measure(self) -> Timings:
        return bare_engine.time_steps(self._engine, self._streams, 1, _STEPS, self._clock)
