"""Measures the latency of one step on the exporting machine, for a rollout's gate.

The machine is recorded with the latency, because the gate is only meaningful for services on
machines like it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.inference.engines.engine import Engine
from service.manifest import Precision, StepLatency

STEPS = 500
WARM_UP_STEPS = 50


def measure(
    engine: Engine,
    precision: Precision,
    steps: int = STEPS,
    now: Callable[[], float] = time.perf_counter,
) -> StepLatency:
    """Run one session of `steps` single vectors and compute the latency percentiles.

    Measures the engine alone, without queue or HTTP, after `WARM_UP_STEPS` further steps. `now`
    returns seconds.
    """
    sizes = engine.dimensions
    vector = np.full((1, 1, sizes.dim), sizes.dim**-0.5, np.float32)
    state = np.zeros((sizes.layers, 1, sizes.hidden), np.float32)
    one = np.ones(1, np.int32)
    latencies = []
    for step in range(WARM_UP_STEPS + steps):
        started = now()
        _, state = engine.run(vector, one, state)
        ended = now()
        if step >= WARM_UP_STEPS:
            latencies.append(1000 * (ended - started))
    p50, p95 = np.quantile(latencies, (0.5, 0.95))
    return StepLatency(
        steps=steps,
        p50_ms=float(p50),
        p95_ms=float(p95),
        precision=precision,
        provider=engine.provider,
        machine=machine(),
    )


def machine() -> str:
    """The processor's name and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
            break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
