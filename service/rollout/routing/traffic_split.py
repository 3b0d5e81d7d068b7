"""Which variant serves a request: a pure function of the rollout's salt and a key.

The same on every replica and after a restart. A key's bucket never moves while
a rollout lasts, so a ramp only adds keys to the canary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from service.errors import NotFound
from service.types import Variant

BASIS_POINTS = 10_000


def bucket(salt: str, key: str) -> int:
    """Where `key` falls, 0..9999, uniformly; another salt shuffles all keys anew.

    blake2b rather than `hash()`, whose seed differs in every process. Keys come
    from headers, hence any code point is taken, lone surrogates included.
    """
    seed = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=seed).digest()
    return int.from_bytes(digest, "big") % BASIS_POINTS


@dataclass(frozen=True, slots=True)
class Route:
    """Who serves a request. `assigned` is False where it was not the split's choice:
    such a request is measured apart and left out of the evidence. `variant` is
    None for a version that has no part in the split."""

    variant: Variant | None
    version: str
    assigned: bool


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The split at one moment. `weight_bp` is the canary's share in basis points; with
    `shadow` it runs on copies of stable's requests."""

    stable: str
    canary: str | None = None
    weight_bp: int = 0
    salt: str = ""
    shadow: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight_bp <= BASIS_POINTS:
            raise ValueError(f"weight_bp is {self.weight_bp}; 0 to {BASIS_POINTS} is possible")
        if self.canary is None and self.weight_bp:
            raise ValueError(f"weight_bp is {self.weight_bp} without a canary")

    def route(self, key: str | None, override: Variant | None, draw: Callable[[], str]) -> Route:
        """The variant and version for one request.

        Without a `key` one comes from `draw`, which must be random: a fixed one
        would send all those callers to the same variant. Raises `NotFound` when
        `override` asks for a canary and there is none.
        """
        if override is Variant.STABLE:
            return Route(Variant.STABLE, self.stable, assigned=False)
        if override is Variant.CANARY:
            if self.canary is None:
                raise NotFound(
                    "no canary is being served; leave out X-Variant or start a rollout",
                    "no_canary",
                )
            return Route(Variant.CANARY, self.canary, assigned=False)
        if self.canary is None or self.weight_bp == 0:
            return Route(Variant.STABLE, self.stable, assigned=True)
        if bucket(self.salt, draw() if key is None else key) < self.weight_bp:
            return Route(Variant.CANARY, self.canary, assigned=True)
        return Route(Variant.STABLE, self.stable, assigned=True)

    def pinned(self, version: str) -> Route:
        """The route to a version that the request names itself."""
        variant = {self.canary: Variant.CANARY, self.stable: Variant.STABLE}.get(version)
        return Route(variant, version, assigned=False)


class TrafficRouter:
    """Holds the present split. A request reads `current` once, and so sees one split."""

    def __init__(self, assignment: TrafficSplit) -> None:
        self._current = assignment

    @property
    def current(self) -> TrafficSplit:
        return self._current

    def set(self, assignment: TrafficSplit) -> None:
        """Swap the split: one reference, for every request that begins after it."""
        self._current = assignment
