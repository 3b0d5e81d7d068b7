"""Each routing key's say on quality: its share of hits among its first predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from service.rollout.routing.traffic_split import TrafficSplit
from service.types import KEY_SAMPLE, Variant

IDLE_SECONDS = 60.0
"""A key without a prediction for so long has its say with what it has."""

MAX_OPEN = 50_000
MAX_DONE = 200_000
"""Keys remembered. A key that is forgotten and comes back in the same step counts
again; only with more keys at once than this."""


@dataclass(slots=True)
class _Open:
    variant: Variant
    version: str
    hits: int
    count: int
    used: float


@dataclass(frozen=True, slots=True)
class Share:
    """What one key said: a share of hits, 0..1."""

    variant: Variant
    version: str
    share: float


class KeyShares:
    """Counts the hits of each key until it has had its say, once in each split.

    A change of the split is a new beginning for all keys: those that move to the
    canary must be compared with those that stay over the same time. Of one thread.
    """

    def __init__(self) -> None:
        self._split: TrafficSplit | None = None
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._done: OrderedDict[int, None] = OrderedDict()

    def note(
        self,
        split: TrafficSplit,
        key: str,
        variant: Variant,
        version: str,
        now: float,
        *,
        hit: bool,
        last: bool,
    ) -> Share | None:
        """Count a prediction made under `split`; the key's share if that completes it.

        `last`: no more of this key will come. `now` in seconds of any clock that
        does not go back.
        """
        if split != self._split:
            self._split = split
            self._open.clear()
            self._done.clear()
        # Every process its own seed: the number must not outlive it, and does not.
        number = hash(key)
        if number in self._done:
            return None
        known = self._open.setdefault(number, _Open(variant, version, 0, 0, now))
        known.hits += hit
        known.count += 1
        known.used = now
        self._open.move_to_end(number)
        return self._close(number) if last or known.count == KEY_SAMPLE else None

    def idle(self, now: float) -> Iterator[Share]:
        """The shares of keys that have gone quiet, or are too many."""
        while self._open:
            number, known = next(iter(self._open.items()))
            if now - known.used < IDLE_SECONDS and len(self._open) <= MAX_OPEN:
                return
            yield self._close(number)

    def _close(self, number: int) -> Share:
        known = self._open.pop(number)
        self._done[number] = None
        if len(self._done) > MAX_DONE:
            self._done.popitem(last=False)
        return Share(known.variant, known.version, known.hits / known.count)
