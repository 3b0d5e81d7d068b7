"""The traffic split: which variant serves a request.

The choice is a pure function of the rollout's salt and a key. It is the same on every replica
and after a restart. A key's bucket does not change during a rollout, so a higher weight only
adds keys to the canary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from service.errors import NotFound
from service.types import Variant

BASIS_POINTS = 10_000


def bucket(salt: str, key: str) -> int:
    """The bucket of `key`, 0..9999, uniformly distributed. Another salt gives other buckets.

    blake2b and not `hash()`, whose seed differs in every process. Keys come from headers, so
    any code point is possible, lone surrogates included.
    """
    seed = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=seed).digest()
    return int.from_bytes(digest, "big") % BASIS_POINTS


class Route(NamedTuple):
    """Which version serves a request.

    `assigned` is False if the request itself chose: it is then left out of the evidence.
    `variant` is None for a version that is not part of the split.
    """

    variant: Variant | None
    version: str
    assigned: bool


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """How requests are split over the versions.

    `weight_bp` is the canary's share in basis points. With `shadow`, the canary runs on copies
    of stable's requests. `withheld`: this process keeps the canary out of traffic although the
    rollout gives it some. What stable then serves was not placed at random, so it is left out of
    the evidence.
    """

    stable: str
    canary: str | None = None
    weight_bp: int = 0
    salt: str = ""
    shadow: bool = False
    withheld: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight_bp <= BASIS_POINTS:
            raise ValueError(f"weight_bp is {self.weight_bp}; it must be 0 to {BASIS_POINTS}")
        if self.canary is None and self.weight_bp:
            raise ValueError(f"weight_bp is {self.weight_bp} without a canary")

    @property
    def name(self) -> str:
        """The same text for the same split, on every replica."""
        parts = (self.stable, self.canary or "", str(self.weight_bp), self.salt, str(self.shadow))
        text = "\n".join(parts).encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=12).hexdigest()

    def withhold(self) -> TrafficSplit:
        """The split without traffic for the canary."""
        return replace(self, weight_bp=0, shadow=False, withheld=True)

    def route(self, key: str | None, override: Variant | None, draw: Callable[[], str]) -> Route:
        """The variant and version for one request.

        Without a `key`, `draw` provides a random one. A fixed key would send all such requests
        to the same variant. Raises `NotFound` if `override` is the canary and there is none.
        """
        if override is Variant.STABLE:
            return Route(Variant.STABLE, self.stable, assigned=False)
        if override is Variant.CANARY:
            if self.canary is None:
                raise NotFound(
                    "there is no canary; leave out X-Variant or start a rollout",
                    "no_canary",
                )
            return Route(Variant.CANARY, self.canary, assigned=False)
        if self.canary is None or self.weight_bp == 0:
            return Route(Variant.STABLE, self.stable, assigned=not self.withheld)
        if bucket(self.salt, draw() if key is None else key) < self.weight_bp:
            return Route(Variant.CANARY, self.canary, assigned=True)
        return Route(Variant.STABLE, self.stable, assigned=True)

    def pinned(self, version: str) -> Route:
        """The route to a version that the request names."""
        variant = {self.canary: Variant.CANARY, self.stable: Variant.STABLE}.get(version)
        return Route(variant, version, assigned=False)


class TrafficRouter:
    """Holds the current split. A request reads `current` once, so it sees only one split."""

    def __init__(self, assignment: TrafficSplit) -> None:
        self._current = assignment

    @property
    def current(self) -> TrafficSplit:
        return self._current

    def set(self, assignment: TrafficSplit) -> None:
        """Replace the split for every request that begins from now on."""
        self._current = assignment
