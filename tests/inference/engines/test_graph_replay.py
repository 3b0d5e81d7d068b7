"""Replays with changed inputs: what a CUDA graph that captured too much gives away."""

from __future__ import annotations

import numpy as np
import pytest

from service.inference.engines.buckets import BUCKETS
from service.inference.engines.graph_replay import stale_buckets
from tests.support.array_device import ArrayDevice
from tests.support.fakes import DIM, DIMENSIONS


class Graphed(ArrayDevice):
    """Captured, it answers its first inputs for ever, for the sizes in `wrong`."""

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
def test_sizes_that_answer_old_inputs_are_found(wrong, part):
    """Whichever of the inputs was captured for good."""
    device = Graphed(wrong, part)
    assert tuple(wrong) == stale_buckets(device, DIMENSIONS)
    assert device.graphed


def test_what_is_not_finite_does_not_hold():
    device = Graphed((), "vectors")
    device.states[:] = np.nan
    device.write = lambda _slots, _states: None
    assert BUCKETS == stale_buckets(device, DIMENSIONS)
    assert DIM == device.states.shape[-1]
