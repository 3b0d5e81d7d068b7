"""Tests whether replayed CUDA graphs compute from their current inputs.

A captured graph runs the same kernels on the same addresses. Whatever the host read during
the capture stays in it. So a graph that captured too much returns the result of its first
inputs for ever, and only a replay with other inputs shows it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.buckets import BUCKETS
from service.inference.engines.state_pool import Device
from service.manifest import Dimensions

_TOLERANCE = 1e-3
"""Difference allowed between two runs: far above rounding, far below another result."""


class GraphedDevice(Device, Protocol):
    """A device that can run a step as a captured graph or kernel by kernel."""

    graphed: bool


def find_stale_buckets(device: GraphedDevice, sizes: Dimensions) -> tuple[int, ...]:
    """The buckets whose replays differ from the step run kernel by kernel.

    Writes to the first slots of the pool, so the pool must be empty. Leaves `graphed` on.
    """
    rng = np.random.default_rng(0)
    return tuple(bucket for bucket in BUCKETS if not _is_fresh(device, sizes, bucket, rng))


def _is_fresh(
    device: GraphedDevice, sizes: Dimensions, bucket: int, rng: np.random.Generator
) -> bool:
    # Captured in the first or second run, then replayed; the last run has new inputs.
    inputs = [_vectors(sizes, bucket, rng) for _ in range(2)]
    slots = np.arange(1, 1 + 2 * bucket, dtype=np.int64)
    sources = [slots[:bucket], slots[bucket:]]
    targets = sources[::-1]
    shape = (bucket, sizes.layers, sizes.hidden)
    starts = [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(2)]
    outputs = []
    for device.graphed in (False, True):
        for i in (0, 0, 0, 1):
            device.write(sources[i], starts[i])
            answer = device.step(inputs[i], sources[i], targets[i])
        outputs.append((answer, device.read(targets[1])))
    return all(
        np.allclose(one, other, atol=_TOLERANCE) for one, other in zip(*outputs, strict=True)
    )


def _vectors(sizes: Dimensions, bucket: int, rng: np.random.Generator) -> NDArray[np.float32]:
    drawn = rng.standard_normal((1, bucket, sizes.dim)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return unit
