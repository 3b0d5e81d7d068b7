"""One session: a context that grows on the server. It plans and commits its own appends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from service.compact_rows import CompactRow
from service.contexts.history import History
from service.contexts.session_quota import SessionQuota
from service.contexts.turn_lock import TurnLock
from service.contexts.window import Run, plan_runs
from service.errors import Conflict
from service.manifest import Manifest
from service.types import State, Variant, Vector, Vectors

OVERHEAD_BYTES = 2048
"""Python's own memory for a session: object, lock, dictionary entry; a rough measurement."""


@dataclass(frozen=True, slots=True)
class LastAppend:
    """Identifies a retry of the last append, and holds its prediction.

    `vector` is None in a session that was taken over from another replica.
    """

    position: int
    fingerprint: bytes
    vector: Vector | None


class AppendPlan(NamedTuple):
    """The work of one append. Nothing changes until the session commits it.

    `position` is the session's length before the append. `runs` are what the engine has to
    run; the first gives the prediction. `primed` is true if the session had states of
    another graph and is read again from its history.
    """

    vectors: Vectors
    position: int
    graph_digest: str
    runs: Sequence[Run]
    primed: bool


@dataclass(eq=False)
class Session:
    """One context. Hold `lock` from planning an append until it is committed.

    `states` are the kept states, keyed by the position of the first vector each has read. They
    have read the first `states_length` vectors: all, but for a session that was taken over.
    `graph_digest` names the graph that made them: a version exported again under its old
    name has another one. `users` counts the appends that hold `lock` or wait for it; a
    session in use is never evicted. `pending` is the prediction that the next vector scores;
    it belongs to the online scorer. `owner` is the caller whose session it is, with `charged`
    bytes of its quota; None: everybody's.
    """

    id: str
    history: History
    length: int = 0
    variant: Variant | None = Variant.STABLE
    version: str = ""
    graph_digest: str = ""
    states: Mapping[int, State] = field(default_factory=dict)
    states_length: int = 0
    last: LastAppend | None = None
    pending: Any = None
    users: int = 0
    lock: TurnLock = field(default_factory=TurnLock)
    owner: SessionQuota | None = None
    charged: int = 0

    def repeated(self, vectors: Vectors, position: int) -> Vector | None:
        """The stored prediction, if `vectors` at `position` repeat the last append.

        None if the session was taken over: `plan_replay` makes it again. Raises `Conflict` with
        the true position if they do not.
        """
        last = self.last
        if last is None or last.position != position or last.fingerprint != fingerprint(vectors):
            raise Conflict(
                f"the next position of session {self.id!r} is {self.length}, not {position}",
                code="position_mismatch",
                details={"position": self.length},
            )
        return last.vector

    def plan_append(
        self, vectors: Vectors, manifest: Manifest, graph_digest: str, *, restart: bool = False
    ) -> AppendPlan:
        """Plan to append `vectors` `[k, dim]` with the version that `manifest` describes.

        `restart` plans the append as the first one of the session.
        """
        position = 0 if restart else self.length
        moved = self.graph_digest != graph_digest
        primed = position > 0 and (moved or self.states_length != position)
        states = {} if moved or restart else self.states

        def tail(count: int) -> Vectors:
            """The last `count` vectors of the session after the append."""
            if count <= len(vectors):
                return vectors[len(vectors) - count :]
            return np.concatenate([self.history.last(count - len(vectors)), vectors])

        runs = plan_runs(manifest, states, self.states_length, position + len(vectors), tail)
        return AppendPlan(vectors, position, graph_digest, runs, primed)

    def plan_replay(self, manifest: Manifest, graph_digest: str) -> AppendPlan:
        """Plan to make the last prediction again, without a new vector."""
        # A state that has read every vector cannot give the prediction after the last one.
        usable = self.graph_digest == graph_digest and self.states_length < self.length
        states = self.states if usable else {}
        runs = plan_runs(manifest, states, self.states_length, self.length, self.history.last)
        return AppendPlan(self.history.last(0), self.length, graph_digest, runs, primed=True)

    def commit_replay(
        self, plan: AppendPlan, states: Sequence[State], vector: Vector, version: str
    ) -> None:
        """Keep what `plan_replay` gave."""
        assert self.last is not None
        self._keep_states(plan, states)
        self.version = version
        self.last = replace(self.last, vector=vector)

    def commit(
        self,
        plan: AppendPlan,
        states: Sequence[State],
        vector: Vector,
        variant: Variant | None,
        version: str,
        row: CompactRow | None = None,
    ) -> None:
        """Apply `plan` after its runs: their final `states` in order, and the prediction.

        `row` is the only vector in 8 bits, if it is in them already.
        """
        if plan.position == 0:
            self.clear()
        if row is not None and self.history.is_compact and len(plan.vectors) == 1:
            self.history.append_row(row)
        else:
            self.history.append(plan.vectors)
        self.length = plan.position + len(plan.vectors)
        self._keep_states(plan, states)
        self.variant, self.version = variant, version
        self.last = LastAppend(plan.position, self.identify(plan), vector)

    def identify(self, plan: AppendPlan) -> bytes:
        """The fingerprint of the plan's vectors."""
        return fingerprint(plan.vectors)

    def clear(self) -> None:
        """Return to an empty context."""
        self.history.clear()
        self.length, self.states, self.last, self.pending = 0, {}, None, None
        self.states_length = 0

    def _keep_states(self, plan: AppendPlan, states: Sequence[State]) -> None:
        self.states = {run.start: state for run, state in zip(plan.runs, states, strict=True)}
        self.states_length = self.length
        self.graph_digest = plan.graph_digest

    @property
    def nbytes(self) -> int:
        states = sum(state.nbytes for state in self.states.values())
        last = 0 if self.last is None or self.last.vector is None else self.last.vector.nbytes
        return OVERHEAD_BYTES + self.history.nbytes + states + last


def fingerprint(vectors: Vectors) -> bytes:
    """16 bytes that identify an append's vectors."""
    return hashlib.blake2b(vectors.data, digest_size=16).digest()
