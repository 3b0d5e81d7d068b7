"""A fake device that keeps states in an array and steps with the fake engine."""

from __future__ import annotations

import numpy as np

from tests.support.fakes import DIM, FakeEngine


class ArrayDevice:
    """Has `states` `[slots, 1, DIM]`. Each later step raises the next of `faults`.

    `moves` lists the transfers: `("read", slots)` or `("write", slots)`.
    """

    def __init__(self, slots):
        self.slots = slots
        self.states = np.full((slots, 1, DIM), 7e7, np.float32)
        self.engine = FakeEngine()
        self.faults = []
        self.moves = []

    def read(self, slots):
        self.moves.append(("read", slots.tolist()))
        return self.states[slots].copy()

    def write(self, slots, states):
        self.moves.append(("write", slots.tolist()))
        self.states[slots] = states

    def step(self, vectors, sources, targets):
        assert len(set(targets.tolist())) == len(targets)
        assert not set(targets.tolist()) & set(sources.tolist())
        if self.faults:
            self.states[targets] = np.nan
            raise self.faults.pop(0)
        return self._run(vectors, sources, targets)

    def _run(self, vectors, sources, targets):
        state = self.states[sources].transpose(1, 0, 2)
        predicted, after = self.engine.run(vectors, np.ones(len(sources), np.int32), state)
        self.states[targets] = after.transpose(1, 0, 2)
        return predicted
