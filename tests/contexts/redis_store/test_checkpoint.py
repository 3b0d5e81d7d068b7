"""Stored states are read as they were, and anything else is no checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from service.contexts.history import History
from service.contexts.redis_store.checkpoint import decode_checkpoint, encode_checkpoint
from service.contexts.session import LastAppend, Session
from tests.support.fakes import DIM, unit_vectors


def session_of(states):
    session = Session("s", History(8, DIM), length=40, states=states, states_length=40)
    session.graph_digest = "graph"
    session.last = LastAppend(39, b"digest", unit_vectors(1)[0])
    return session


def states_of(*starts):
    return {
        start: np.random.default_rng(start).standard_normal((2, 3)).astype(np.float32)
        for start in starts
    }


@pytest.mark.parametrize("starts", [(0,), (8, 16)])
def test_states_are_read_as_they_were_written(starts):
    session = session_of(states_of(*starts))
    found = decode_checkpoint(encode_checkpoint(session))
    assert (found.graph_digest, found.length, tuple(found.states)) == ("graph", 40, starts)
    for start, state in session.states.items():
        np.testing.assert_array_equal(state, found.states[start])
    np.testing.assert_array_equal(session.last.vector, found.vector)


class DeviceState:
    """A state that is not in this process's memory."""

    nbytes = 24


@pytest.mark.parametrize("states", [{}, {0: DeviceState()}, {**states_of(0), 8: DeviceState()}])
def test_states_elsewhere_are_not_written(states):
    """A GPU reads a window again in a few milliseconds."""
    assert encode_checkpoint(session_of(states)) is None


def test_a_session_without_its_last_prediction_has_no_checkpoint():
    session = session_of(states_of(0))
    session.last = None
    assert encode_checkpoint(session) is None


GOOD = encode_checkpoint(session_of(states_of(0)))
HEAD = json.loads(GOOD.partition(b"\n")[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        GOOD[:-1],
        GOOD[:-4],
        GOOD + b"1234",
        *[
            json.dumps(HEAD | change).encode() + b"\n" + GOOD.partition(b"\n")[2]
            for change in ({"form": 2}, {"starts": [0, 8]}, {"shape": "x"}, {"dim": None})
        ],
    ],
)
def test_what_another_release_wrote_or_what_is_damaged_is_no_checkpoint(content):
    """The window is then read again."""
    assert decode_checkpoint(content) is None
