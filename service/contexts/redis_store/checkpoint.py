"""The stored form of a session's states, so that a takeover need not read a whole window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.contexts.session import Session
from service.types import State, Vector

_FORM = 1


@dataclass(frozen=True)
class Checkpoint:
    """States by the position at which each begins, after `length` vectors, of one graph.

    `vector` is the prediction after them: without it, a repeat of the append that made it could
    only be answered by reading the window again.
    """

    graph_digest: str
    length: int
    states: Mapping[int, State]
    vector: Vector | None


def encode_checkpoint(session: Session) -> bytes | None:
    """The session's states, in bytes; None if they are not in this process's memory.

    States on a GPU belong to the engine's thread, and a GPU reads a window in a few milliseconds.
    """
    states = [state for state in session.states.values() if isinstance(state, np.ndarray)]
    last = session.last
    if not states or len(states) < len(session.states) or last is None or last.vector is None:
        return None
    head = {
        "form": _FORM,
        "graph": session.graph_digest,
        "length": session.states_length,
        "starts": list(session.states),
        "shape": states[0].shape,
        "dim": len(last.vector),
    }
    parts = [state.astype("<f4").tobytes() for state in states]
    return b"".join([json.dumps(head).encode(), b"\n", *parts, last.vector.astype("<f4").tobytes()])


def decode_checkpoint(content: bytes) -> Checkpoint | None:
    """What `encode_checkpoint` wrote; None for anything else: the window is then read again."""
    head, _, body = content.partition(b"\n")
    try:
        fields = json.loads(head)
        if fields["form"] != _FORM:
            return None
        starts, shape, dim = fields["starts"], tuple(fields["shape"]), int(fields["dim"])
        values = np.frombuffer(body, "<f4").astype(np.float32)
        size = int(np.prod(shape))
        if len(values) != size * len(starts) + dim:
            return None
        states = {
            int(start): values[i * size : (i + 1) * size].reshape(shape).copy()
            for i, start in enumerate(starts)
        }
        return Checkpoint(
            str(fields["graph"]), int(fields["length"]), states, values[len(values) - dim :].copy()
        )
    except (ValueError, KeyError, TypeError):
        return None
