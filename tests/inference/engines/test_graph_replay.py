"""Replays with new inputs reveal a CUDA graph that captured its inputs."""

from __future__ import annotations

import numpy as np
import pytest

from service.inference.engines.buckets import BUCKETS
from service.inference.engines.graph_replay import find_stale_buckets
from tests.support.array_device import ArrayDevice
from tests.support.fakes import DIM, DIMENSIONS


class FaultyGraphDevice(ArrayDevice):
    """Captured graphs of the sizes in `wrong` return the result of their first inputs."""

    def __init__(self, wrong, part):
        super().__init__(128)
        self.graphed = True
        self._wrong, self._part = wrong, part
        self._captured = {}

    def step(self, vectors, sources, targets):
        batch = len(sources)
        if self.graphed and batch in self._wrong:
            first = self._captured.setdefault(batch, (vectors.copy(), sources, targets))
            vectors = first[0] if self._part == "vectors" else vectors
            sources = first[1] if self._part == "sources" else sources
            targets = first[2] if self._part == "targets" else targets
        return self._run(vectors, sources, targets)


@pytest.mark.parametrize("part", ["vectors", "sources", "targets"])
@pytest.mark.parametrize("wrong", [(), (1,), (4, 32), BUCKETS])
def test_sizes_that_replay_old_inputs_are_found(wrong, part):
    """Whichever input was captured."""
    device = FaultyGraphDevice(wrong, part)
    assert tuple(wrong) == find_stale_buckets(device, DIMENSIONS)
    assert device.graphed


def test_a_result_that_is_not_finite_is_stale():
    device = FaultyGraphDevice((), "vectors")
    device.states[:] = np.nan
    device.write = lambda _slots, _states: None
    assert BUCKETS == find_stale_buckets(device, DIMENSIONS)
    assert DIM == device.states.shape[-1]
