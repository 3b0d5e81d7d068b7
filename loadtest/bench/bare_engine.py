"""Latency of the engine alone: no queue, no HTTP, one thread."""

from __future__ import annotations

import time

import numpy as np

from loadtest.streams import Streams
from loadtest.timings import Timings
from service.clock import Clock
from service.inference.engines.engine import Engine

_WARM_UP = 10


def time_steps(
    engine: Engine, streams: Streams, batch: int, count: int, clock: Clock, *, pause: float = 0.0
) -> Timings:
    """Time `count` steps of `batch` streams at once, each with the state of its last step.

    A `pause` in seconds before each step is not counted. It leaves the processor's caches
    to other work, as in a service.
    """
    sizes = engine.dimensions
    state = np.zeros((sizes.layers, batch, sizes.hidden), np.float32)
    lengths = np.ones(batch, np.int32)
    rows = np.stack([streams.read(i, 0, count + _WARM_UP) for i in range(batch)], axis=1)
    durations = []
    for row in rows:
        if pause:
            time.sleep(pause)
        begin = clock.monotonic()
        _, state = engine.run(row[None], lengths, state)
        durations.append(clock.monotonic() - begin)
    durations = durations[_WARM_UP:]
    return Timings.of(durations, batch * len(durations) / sum(durations))


def time_context(engine: Engine, streams: Streams, number: int, length: int, clock: Clock) -> float:
    """Seconds for a context of `length` vectors from a cold state, in one run."""
    sizes = engine.dimensions
    state = np.zeros((sizes.layers, 1, sizes.hidden), np.float32)
    rows = streams.read(number, 0, length)[:, None]
    begin = clock.monotonic()
    engine.run(rows, np.array([length], np.int32), state)
    return clock.monotonic() - begin
