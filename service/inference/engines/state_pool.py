"""States that stay on the device, in the slots of one tensor.

A state never changes in place: a step reads it from one slot and writes the next state to
another one. So a step that fails, or whose caller has gone, loses nothing. A slot is free
again when nobody holds its state. If no slot is free, the least recently used states are
copied to the host.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from service.errors import EngineFault
from service.inference.engines.buckets import BUCKETS, pieces
from service.types import State

PADDING = 0
"""The slot of the rows that pad a batch. It holds no session's state."""

MIN_SLOTS = 4 * BUCKETS[-1]
"""Slots that a pool needs at least, so that a full batch always finds room."""


class Device(Protocol):
    """A tensor of states `[slots, layers, hidden]`, read and written by slot number."""

    slots: int

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copy the states in `slots` `[n]` to the host: `[n, layers, hidden]`."""
        ...

    def write(self, slots: NDArray[np.int64], states: NDArray[np.float32]) -> None:
        """Write `states` `[n, layers, hidden]` to `slots` `[n]`."""
        ...

    def step(
        self,
        vectors: NDArray[np.float32],
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Run one vector a row `[1, batch, dim]` from the states in `sources`.

        Writes the next states to `targets`, and returns the predictions `[batch, dim]`. The
        batch must fit the largest bucket.
        """
        ...


class PooledState:
    """A state in a slot of a pool, or on the host after it was moved there."""

    __slots__ = ("__weakref__", "_host", "_pool", "_slot", "nbytes")

    def __init__(self, pool: StatePool, slot: int, nbytes: int) -> None:
        self._pool = pool
        self._slot: int | None = slot
        self._host: NDArray[np.float32] | None = None
        self.nbytes = nbytes

    def __array__(self, dtype: Any = None, /) -> NDArray[Any]:
        return self._fetch() if dtype is None else self._fetch().astype(dtype)

    def __del__(self) -> None:
        if self._slot is not None:
            self._pool.release(self._slot)

    def slot_in(self, pool: StatePool) -> int | None:
        """The state's slot in `pool`; None if it is on the host or in another pool."""
        return self._slot if pool is self._pool else None

    def move_to_host(self, state: NDArray[np.float32]) -> int:
        """Take `state`, a copy of the slot, to the host, and return the slot."""
        slot = self._slot
        assert slot is not None
        self._host, self._slot = state, None
        return slot

    def _fetch(self) -> NDArray[np.float32]:
        if self._host is not None:
            return self._host
        assert self._slot is not None
        fetched: NDArray[np.float32] = self._pool.fetch([self._slot])[0]
        return fetched


class StatePool:
    """Runs steps over states on `device`, from one thread. Any thread may drop a state."""

    def __init__(self, device: Device) -> None:
        if device.slots < MIN_SLOTS:
            raise ValueError(f"a pool needs at least {MIN_SLOTS} slots, not {device.slots}")
        self._device = device
        self._free = list(range(device.slots - 1, PADDING, -1))
        # Slots of dropped states; any thread may drop one.
        self._released: deque[int] = deque()
        # In the order of creation. That is the order of last use, because a step replaces a state.
        self._owners: OrderedDict[int, ref[PooledState]] = OrderedDict()

    def advance(
        self, vectors: NDArray[np.float32], states: Sequence[State]
    ) -> tuple[NDArray[np.float32], Sequence[State]]:
        """Run one step: `vectors` `[1, batch, dim]`, each row from its state `[layers, hidden]`.

        Returns the predictions `[batch, dim]` and the next states, which are in the pool.
        Raises `EngineFault`.
        """
        predicted: list[NDArray[np.float32]] = []
        after: list[State] = []
        for piece in pieces(len(states)):
            some, kept = self._step(vectors[:, piece], states[piece])
            predicted.append(some)
            after.extend(kept)
        return np.concatenate(predicted) if len(predicted) > 1 else predicted[0], after

    def fetch(self, slots: Sequence[int]) -> NDArray[np.float32]:
        """Copy the states in `slots` to the host: `[n, layers, hidden]`."""
        numbers = np.array(slots, np.int64)
        return np.concatenate([self._device.read(numbers[piece]) for piece in pieces(len(slots))])

    def release(self, slot: int) -> None:
        """Note that nobody holds the state in `slot` any more."""
        self._released.append(slot)

    @property
    def held(self) -> int:
        """Slots that hold a state."""
        self._reclaim()
        return len(self._owners)

    def _step(
        self, vectors: NDArray[np.float32], states: Sequence[State]
    ) -> tuple[NDArray[np.float32], list[PooledState]]:
        known = [s.slot_in(self) if isinstance(s, PooledState) else None for s in states]
        on_host = [row for row, slot in enumerate(known) if slot is None]
        free = self._take_slots(
            len(on_host) + len(states), {slot for slot in known if slot is not None}
        )
        staging, targets = free[: len(on_host)], free[len(on_host) :]
        try:
            if on_host:
                arrays = np.stack([np.asarray(states[row], np.float32) for row in on_host])
                self._device.write(np.array(staging, np.int64), arrays)
            filled = dict(zip(on_host, staging, strict=True))
            sources = [filled.get(row, slot) for row, slot in enumerate(known)]
            predicted = self._device.step(
                vectors, np.array(sources, np.int64), np.array(targets, np.int64)
            )
        except Exception:
            self._free.extend(targets)
            raise
        finally:
            self._free.extend(staging)
        nbytes = states[0].nbytes
        after = [PooledState(self, slot, nbytes) for slot in targets]
        for slot, state in zip(targets, after, strict=True):
            self._owners[slot] = ref(state)
        return predicted, after

    def _take_slots(self, count: int, needed: set[int]) -> list[int]:
        """Take `count` free slots; states in `needed` slots are not moved to the host."""
        self._reclaim()
        short = count - len(self._free)
        if short > 0:
            # One batch more than needed: copying one state costs as much as copying many.
            self._spill(self._oldest(short + BUCKETS[-1], needed))
        if count > len(self._free):
            raise EngineFault("the state pool is full")
        return [self._free.pop() for _ in range(count)]

    def _oldest(self, count: int, needed: set[int]) -> Iterable[PooledState]:
        oldest = []
        for slot, owner in self._owners.items():
            state = owner()
            # None: the state has just been dropped, and its slot is about to be released.
            if state is not None and slot not in needed:
                oldest.append(state)
                if len(oldest) == count:
                    break
        return oldest

    def _spill(self, states: Iterable[PooledState]) -> None:
        chosen = [(state, slot) for state in states if (slot := state.slot_in(self)) is not None]
        if not chosen:
            return
        copies = self.fetch([slot for _, slot in chosen])
        for (state, _), copy in zip(chosen, copies, strict=True):
            slot = state.move_to_host(copy.copy())
            del self._owners[slot]
            self._free.append(slot)

    def _reclaim(self) -> None:
        while self._released:
            slot = self._released.popleft()
            del self._owners[slot]
            self._free.append(slot)
