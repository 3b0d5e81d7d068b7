"""Shared memory of one worker, in which the vectors of its large requests lie.

The worker owns the places. The engine process maps the same memory to read, and gives a place
back when nothing there refers to it any more.
"""

from __future__ import annotations

import mmap
import os
import weakref
from bisect import insort
from collections.abc import Callable

import numpy as np

from service.errors import QueueFull
from service.types import Vectors
from service.workers.frames import FrameError

_ALIGNMENT = 64


class PlaceAllocator:
    """Places of `size` bytes of memory: the first free gap that is large enough. No I/O."""

    def __init__(self, size: int) -> None:
        self._free = [(0, size)]  # gaps as (begin, end), in order, none beside another
        self._taken: dict[int, int] = {}

    @property
    def taken(self) -> int:
        """The number of places in use."""
        return len(self._taken)

    def take(self, size: int) -> int:
        """Return where a place of at least `size` bytes begins. Raises `QueueFull`."""
        size = max(_ALIGNMENT, -(-size // _ALIGNMENT) * _ALIGNMENT)
        for i, (begin, end) in enumerate(self._free):
            if end - begin >= size:
                self._free[i : i + 1] = [(begin + size, end)] if end - begin > size else []
                self._taken[begin] = begin + size
                return begin
        raise QueueFull("too many large requests at once; retry later", 1.0)

    def give_back(self, begin: int) -> None:
        """Free a place. Raises `FrameError` if it is not in use."""
        end = self._taken.pop(begin, None)
        if end is None:
            raise FrameError(f"no place begins at {begin}")
        insort(self._free, (begin, end))
        joined: list[tuple[int, int]] = []
        for gap in self._free:
            if joined and joined[-1][1] == gap[0]:
                joined[-1] = (joined[-1][0], gap[1])
            else:
                joined.append(gap)
        self._free = joined


class Arena:
    """The worker's side. `descriptor` is handed to the engine process."""

    def __init__(self, size: int) -> None:
        self.descriptor = os.memfd_create("nextvec-arena", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, size)
        self._memory = np.frombuffer(mmap.mmap(self.descriptor, size), np.uint8)
        self._places = PlaceAllocator(size)

    @property
    def taken(self) -> int:
        """The number of places in use."""
        return self._places.taken

    def put(self, vectors: Vectors) -> int:
        """Copy `vectors` and return their place. Raises `QueueFull`."""
        place = self._places.take(vectors.nbytes)
        self._memory[place : place + vectors.nbytes].view("<f4").reshape(vectors.shape)[:] = vectors
        return place

    def give_back(self, place: int) -> None:
        """Free a place. Raises `FrameError` if it is not in use."""
        self._places.give_back(place)


class MappedArena:
    """The engine process's side. It closes the descriptor that it is given.

    `release(place)` is called when nothing refers to the vectors of a place any more. A worker
    that ends leaves the memory to those that still read it.
    """

    def __init__(self, descriptor: int, release: Callable[[int], None]) -> None:
        """Raises `OSError` or `ValueError` if the descriptor is no shared memory."""
        try:
            self._memory = memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
        finally:
            os.close(descriptor)
        self._release = release

    def read(self, place: int, rows: int, dim: int) -> Vectors:
        """The vectors `[rows, dim]` at a place, read-only. Raises `FrameError`."""
        size = 4 * rows * dim
        if not 0 <= place <= len(self._memory) - size:
            raise FrameError(f"{rows} vectors at {place} lie outside of the shared memory")
        # Every view of this array keeps it alive, whichever part of the service holds the view.
        vectors = np.frombuffer(self._memory[place : place + size], "<f4").reshape(rows, dim)
        root = vectors.base if isinstance(vectors.base, np.ndarray) else vectors
        weakref.finalize(root, self._release, place).atexit = False
        return vectors
