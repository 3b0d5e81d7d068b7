"""The share of hits of each routing key, over its first predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.bounded_store import BoundedStore
from service.rollout.routing.traffic_split import TrafficSplit
from service.types import KEY_SAMPLE, Variant

IDLE_SECONDS = 60.0
"""A key without a prediction for this long is closed with the predictions it has."""

MAX_OPEN = 50_000
MAX_CLOSED = 200_000
"""Keys remembered. A key that was evicted and comes back in the same step counts a second
time; this takes more keys at once than these limits."""


@dataclass(slots=True)
class _OpenKey:
    """A key that is still being counted."""

    variant: Variant
    version: str
    hits: int
    count: int


@dataclass(frozen=True, slots=True)
class KeyShare:
    """The result of one key: its share of hits, 0..1."""

    variant: Variant
    version: str
    share: float


class KeyShares:
    """Counts the hits of each key until the key is complete, once under each split.

    A change of the split starts all keys over: those that move to the canary must be
    compared over the same time as those that stay. Not thread-safe.
    """

    def __init__(self) -> None:
        self._split: TrafficSplit | None = None
        self._open: BoundedStore[int, _OpenKey] = BoundedStore(
            max_size=MAX_OPEN, max_age=IDLE_SECONDS
        )
        self._closed: BoundedStore[int, None] = BoundedStore(max_size=MAX_CLOSED)

    def count(
        self,
        split: TrafficSplit,
        key: str,
        variant: Variant,
        version: str,
        now: float,
        *,
        hit: bool,
        last: bool,
    ) -> KeyShare | None:
        """Count a prediction made under `split`; return the key's share if it is complete.

        `last` means that the key never comes again. `now` is in seconds of a monotonic clock.
        """
        self._follow(split)
        # The hash differs in every process; it never leaves this one.
        number = hash(key)
        if number in self._closed:
            return None
        known = self._open.get(number) or _OpenKey(variant, version, 0, 0)
        known.hits += hit
        known.count += 1
        self._open.put(number, known, now=now)
        if last or known.count == KEY_SAMPLE:
            self._open.pop(number)
            return self._close(number, known)
        return None

    def close_idle(self, split: TrafficSplit, now: float) -> Iterator[KeyShare]:
        """Close the keys that are idle or over the limit, and return their shares.

        Keys that were counted under another split than the current `split` are dropped: their
        shares are no evidence about it.
        """
        self._follow(split)
        for number, known in self._open.expire(now) + self._open.shrink():
            yield self._close(number, known)

    def _follow(self, split: TrafficSplit) -> None:
        if split != self._split:
            self._split = split
            self._open.clear()
            self._closed.clear()

    def _close(self, number: int, known: _OpenKey) -> KeyShare:
        self._closed.put(number, None)
        self._closed.shrink()
        return KeyShare(known.variant, known.version, known.hits / known.count)
