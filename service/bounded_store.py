"""Values by key in order of last use, bounded in size and in age."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedStore(Generic[K, V]):
    """The one store with eviction: sessions, prefix states, predictions, keys, tombstones.

    `max_size` bounds the sum of the sizes given to `put` (entries, if none is given) and
    `max_age` the seconds since the last `put`. A value for which `is_pinned` holds is never
    evicted. The caller evicts, with `expire` and `shrink`, and learns what was evicted.
    Not thread-safe.
    """

    def __init__(
        self,
        *,
        max_size: float = math.inf,
        max_age: float = math.inf,
        is_pinned: Callable[[V], bool] | None = None,
    ) -> None:
        self._max_size = max_size
        self._max_age = max_age
        self._is_pinned = is_pinned
        # Value, size, time of last use; the least recently used entry is the first.
        self._entries: OrderedDict[K, tuple[V, int, float]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value, or None. Does not count as a use."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: K, value: V, *, size: int = 1, now: float = 0.0) -> None:
        """Store or replace the value as the most recently used, `now` in seconds."""
        replaced = self._entries.get(key)
        self._entries[key] = (value, size, now)
        if replaced is None:
            self.size += size
        else:
            self._entries.move_to_end(key)
            self.size += size - replaced[1]

    def touch(self, key: K) -> None:
        """Make the value the most recently used; its age stays. Raises `KeyError`."""
        self._entries.move_to_end(key)

    def pop(self, key: K) -> V | None:
        """Remove the value and return it, or None."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self.size -= entry[1]
        return entry[0]

    def clear(self) -> None:
        """Remove all values."""
        self._entries.clear()
        self.size = 0

    def expire(self, now: float, limit: float = math.inf) -> list[tuple[K, V]]:
        """Remove and return up to `limit` values that are too old, up to the first pinned one."""
        evicted: list[tuple[K, V]] = []
        oldest = now - self._max_age
        while self._entries and len(evicted) < limit:
            key, (value, size, used) = next(iter(self._entries.items()))
            if used > oldest or (self._is_pinned is not None and self._is_pinned(value)):
                break
            del self._entries[key]
            self.size -= size
            evicted.append((key, value))
        return evicted

    def shrink(self) -> list[tuple[K, V]]:
        """Remove and return the least recently used values until the rest fits."""
        evicted: list[tuple[K, V]] = []
        while self.size > self._max_size:
            key = self._first_unpinned()
            if key is None:
                break
            value, size, _ = self._entries.pop(key)
            self.size -= size
            evicted.append((key, value))
        return evicted

    def _first_unpinned(self) -> K | None:
        pinned = self._is_pinned
        if pinned is None:
            return next(iter(self._entries), None)
        return next((key for key, entry in self._entries.items() if not pinned(entry[0])), None)
