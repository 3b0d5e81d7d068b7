"""States of contexts seen before, so that one sent again costs only what is new in it.

Sent again as it was, a context costs nothing: what was predicted of it is kept too. A
state stands for the exact vectors that led to it, by one version, for one caller: it is
found by the version and a keyed hash of the other two. The key is random in each process,
so that nobody outside can aim at a collision or learn from one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from service.types import State, Vector, Vectors

ENTRY_BYTES = 512
"""Python's own for an entry: digest, array object, dictionary entry; measured roughly."""

_OFF_LOOP_BYTES = 64 * 1024
"""Contexts larger than this are hashed in a thread: other callers wait meanwhile."""


@dataclass(frozen=True)
class Prefix:
    """What is known of a context: the state after its first `length` vectors, if any.

    `vector` is what was predicted after them, where they are the whole context.
    `behind` says that another version knows more of it. `digests` name the beginnings
    of the context that are worth keeping, by length.
    """

    version: str
    length: int
    state: State | None
    behind: bool
    digests: Mapping[int, bytes]
    vector: Vector | None = None


@dataclass(frozen=True)
class _Entry:
    """After `length` vectors; `vector` is None where no context has ended there."""

    length: int
    state: State
    vector: Vector | None

    @property
    def nbytes(self) -> int:
        vector = 0 if self.vector is None else self.vector.nbytes
        return self.state.nbytes + vector + ENTRY_BYTES


class PrefixCache:
    """States by the vectors that led to them, at most `max_bytes` of them, oldest use first out.

    `block` (vectors) is the distance of the states kept within a context; the
    one at its end is kept too, with what was predicted there, for the caller who
    sends it again, as it was or with more.
    """

    def __init__(self, max_bytes: int, block: int) -> None:
        self._max_bytes = max_bytes
        self._block = block
        self._secret = secrets.token_bytes(32)
        self._states: OrderedDict[tuple[str, bytes], _Entry] = OrderedDict()
        # Lengths there are states of: only those are worth a digest.
        self._lengths: Counter[int] = Counter()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._states)

    async def find(
        self, caller: bytes, version: str, context: Vectors, others: Sequence[str] = ()
    ) -> Prefix:
        """The longest beginning of `context` `[n, dim]` that `version` knows.

        All of it only with its prediction: else one vector at least is left to run,
        for the prediction comes from running it. `others` are versions to compare with.
        """
        count = len(context)
        blocks = range(self._block, count, self._block)
        lengths = sorted({count, *blocks, *(n for n in self._lengths if n < count)}, reverse=True)
        if context.nbytes > _OFF_LOOP_BYTES:
            digests = await asyncio.to_thread(_digests, self._secret, caller, context, lengths)
        else:
            digests = _digests(self._secret, caller, context, lengths)

        def known(by: str) -> tuple[int, _Entry | None]:
            for length in lengths:
                entry = self._states.get((by, digests[length]))
                if entry is not None and (length < count or entry.vector is not None):
                    return length, entry
            return 0, None

        length, entry = known(version)
        behind = any(known(other)[0] > length for other in others)
        worth_keeping = {n: digests[n] for n in (*blocks, count)}
        if entry is None:
            return Prefix(version, 0, None, behind, worth_keeping)
        self._states.move_to_end((version, digests[length]))
        vector = entry.vector if length == count else None
        return Prefix(version, length, entry.state, behind, worth_keeping, vector)

    def keep(self, prefix: Prefix, states: Iterable[tuple[int, State]], vector: Vector) -> None:
        """Keep `states` (after how many vectors, the state) of the context looked for, and
        `vector`, what was predicted after all of it."""
        for length, state in states:
            digest = prefix.digests.get(length)
            if digest is None:
                continue
            before = self._states.pop((prefix.version, digest), None)
            if before is not None:
                self._forget(before)
            known = None if before is None else before.vector
            predicted = vector if length == max(prefix.digests) else known
            entry = _Entry(length, state, predicted)
            self._states[prefix.version, digest] = entry
            self._lengths[length] += 1
            self.nbytes += entry.nbytes
        while self.nbytes > self._max_bytes:
            self._forget(self._states.popitem(last=False)[1])

    def _forget(self, entry: _Entry) -> None:
        self.nbytes -= entry.nbytes
        self._lengths[entry.length] -= 1
        if not self._lengths[entry.length]:
            del self._lengths[entry.length]


def _digests(
    secret: bytes, caller: bytes, context: Vectors, lengths: Sequence[int]
) -> dict[int, bytes]:
    """A digest of the first n vectors for each n of `lengths`; one pass."""
    # SHA-256 because processors have it built in: 3 MB took 1.7 ms, with BLAKE2b 4.8. The
    # key comes first; digests never leave the process, so nobody can go on from one.
    running = sha256(secret)
    # With its length before it: no name runs into the vectors.
    running.update(len(caller).to_bytes(8, "little") + caller)
    digests, done = {}, 0
    for length in sorted(lengths):
        running.update(context[done:length].data)
        digests[length] = running.copy().digest()
        done = length
    return digests
