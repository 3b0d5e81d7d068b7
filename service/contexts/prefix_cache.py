"""States after context prefixes seen before: a context sent again costs only its new vectors.

An entry is found by the version and by a keyed hash of the caller and the exact vectors.
The key is random in each process, so that nobody outside can construct a collision or learn
from one.

Predictions are not cached: a context sent again unchanged runs from its last block on. Load
tools send one body over and over, and cached answers would say nothing about a version.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from service.bounded_store import BoundedStore
from service.types import State, Vectors

ENTRY_BYTES = 512
"""Python's own memory for an entry: digest, array, dictionary entry; a rough measurement."""

_OFF_LOOP_BYTES = 64 * 1024
"""Contexts larger than this are hashed in a thread, so that other callers need not wait."""

_PIECE = 128
"""Vectors that are checked and hashed at a time: few enough for the processor's cache."""

PieceCheck = Callable[[Vectors, int], None]
"""Checks vectors of a context, of which the first has this number. Raises `Invalid`."""


def _accept(_vectors: Vectors, _first: int) -> None:
    """Accept any vectors."""


@dataclass(frozen=True)
class Prefix:
    """The known prefix of a context: `state` after its first `length` vectors, or (0, None).

    `behind` is true if another version knows a longer prefix. `digests` are the keys of the
    prefixes worth keeping, by length.
    """

    version: str
    length: int
    state: State | None
    behind: bool
    digests: Mapping[int, bytes]


class PrefixCache:
    """States by version and prefix, up to `max_bytes`; the least recently used are evicted.

    A state is kept every `block` vectors of a context, and one at its end for the caller who
    sends the context again with more.
    """

    def __init__(self, max_bytes: int, block: int) -> None:
        self._block = block
        self._secret = secrets.token_bytes(32)
        self._states: BoundedStore[tuple[str, bytes], tuple[int, State]] = BoundedStore(
            max_size=max_bytes
        )
        # How many states there are of each length: only these lengths are worth a digest.
        self._lengths: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._states)

    @property
    def nbytes(self) -> int:
        """Memory of all states."""
        return self._states.size

    async def find(
        self,
        caller: bytes,
        version: str,
        context: Vectors,
        others: Sequence[str] = (),
        check: PieceCheck = _accept,
    ) -> Prefix:
        """The longest known prefix of `context` `[n, dim]`, of at most n − 1 vectors.

        One vector is always left to run, because running it gives the prediction. `others`
        are the versions that `Prefix.behind` compares with. The context is checked in the pass
        that hashes it; raises what `check` raises.
        """
        count = len(context)
        blocks = range(self._block, count, self._block)
        lengths = sorted({count, *blocks, *(n for n in self._lengths if n < count)})
        if context.nbytes > _OFF_LOOP_BYTES:
            digests = await asyncio.to_thread(
                _digests, self._secret, caller, context, lengths, check
            )
        else:
            digests = _digests(self._secret, caller, context, lengths, check)

        def known(by: str) -> int:
            shorter = (n for n in reversed(lengths) if n < count)
            return next((n for n in shorter if (by, digests[n]) in self._states), 0)

        length = known(version)
        behind = any(known(other) > length for other in others)
        worth_keeping = {n: digests[n] for n in (*blocks, count)}
        found = self._states.get((version, digests[length])) if length else None
        if found is None:
            return Prefix(version, 0, None, behind, worth_keeping)
        self._states.touch((version, digests[length]))
        return Prefix(version, length, found[1], behind, worth_keeping)

    def keep(self, prefix: Prefix, states: Iterable[tuple[int, State]]) -> None:
        """Keep the `states` of the context that `prefix` was found for: (length, state)."""
        for length, state in states:
            digest = prefix.digests.get(length)
            if digest is None:
                continue
            key = (prefix.version, digest)
            if key not in self._states:
                self._lengths[length] += 1
            self._states.put(key, (length, state), size=state.nbytes + ENTRY_BYTES)
        for _, (length, _) in self._states.shrink():
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]


def _digests(
    secret: bytes, caller: bytes, context: Vectors, lengths: Sequence[int], check: PieceCheck
) -> dict[int, bytes]:
    """Digests of the first n vectors for each n of `lengths`, which ascend; one pass."""
    # BLAKE3 with a key: a collision would hand one caller's state to another. 3 MB take 0.33 ms;
    # SHA-256 takes 1.5 ms even where the processor has instructions for it.
    running = blake3(key=secret)
    # The caller's length comes first, so that its name cannot run into the vectors.
    running.update(len(caller).to_bytes(8, "little") + caller)
    digests, hashed = {}, 0
    for length in lengths:
        while hashed < length:
            piece = context[hashed : min(hashed + _PIECE, length)]
            check(piece, hashed)
            running.update(piece.data.cast("B"))
            hashed += len(piece)
        digests[length] = running.digest()
    return digests
