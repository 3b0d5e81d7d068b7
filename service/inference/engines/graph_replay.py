"""Whether a CUDA graph, replayed, answers for the inputs it is given.

A graph captured once runs the same kernels on the same addresses. What was
read on the host while it was captured is in it for good, so a graph that
captured too much answers its first inputs for ever. That can only be seen by
replaying it with others.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.buckets import BUCKETS
from service.inference.engines.state_pool import Device
from service.manifest import Dimensions

_TOLERANCE = 1e-3
"""Between two runs of one graph on one device: far above rounding, far below another answer."""


class Replaying(Device, Protocol):
    """A device that can run a step captured, or kernel by kernel."""

    graphed: bool


def stale(device: Replaying, sizes: Dimensions) -> tuple[int, ...]:
    """The buckets whose replays do not answer as the step run kernel by kernel does.

    Writes to the first slots of the pool, so it is for a pool that holds nothing yet;
    leaves `graphed` on.
    """
    rng = np.random.default_rng(0)
    return tuple(bucket for bucket in BUCKETS if not _holds(device, sizes, bucket, rng))


def _holds(device: Replaying, sizes: Dimensions, bucket: int, rng: np.random.Generator) -> bool:
    # Captured at the first or second run, replayed after; the last has inputs never seen.
    inputs = [_vectors(sizes, bucket, rng) for _ in range(2)]
    slots = np.arange(1, 1 + 2 * bucket, dtype=np.int64)
    sources = [slots[:bucket], slots[bucket:]]
    targets = sources[::-1]
    shape = (bucket, sizes.layers, sizes.hidden)
    starts = [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(2)]
    found = []
    for device.graphed in (False, True):
        for i in (0, 0, 0, 1):
            device.write(sources[i], starts[i])
            answer = device.step(inputs[i], sources[i], targets[i])
        found.append((answer, device.read(targets[1])))
    return all(np.allclose(one, other, atol=_TOLERANCE) for one, other in zip(*found, strict=True))


def _vectors(sizes: Dimensions, bucket: int, rng: np.random.Generator) -> NDArray[np.float32]:
    drawn = rng.standard_normal((1, bucket, sizes.dim)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return unit
