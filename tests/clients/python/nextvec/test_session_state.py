"""How a session recovers after the service refused an append."""

from __future__ import annotations

import numpy as np
import pytest

from nextvec.errors import GoneError, NotFoundError, PositionConflictError, StatusError
from nextvec.session_state import KeptVectors, Recovery, SessionState

GONE = GoneError("gone", status=410, code="session_gone")
UNKNOWN = NotFoundError("unknown", status=404, code="session_not_found")
NO_CANARY = NotFoundError("no canary", status=404, code="no_canary")
WINDOW = 4


def conflict(position):
    details = {"position": position}
    return PositionConflictError("conflict", status=409, code="position_mismatch", details=details)


def rows(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None]


def state_of(count, *, keep=True):
    state = SessionState("a", KeptVectors() if keep else None)
    for number in range(count):
        state.commit(rows(1, number), number + 1, WINDOW)
    return state


@pytest.mark.parametrize(
    ("length", "sent", "error", "expected"),
    [
        (3, (), GONE, Recovery.PRIME),
        (3, (), UNKNOWN, Recovery.REPLACE),
        (3, (), NO_CANARY, Recovery.NONE),
        (3, (), StatusError("other", status=418), Recovery.NONE),
        (3, (), conflict(0), Recovery.PRIME),
        (3, (), conflict(2), Recovery.REPLACE),  # an older copy
        (3, (2,), conflict(5), Recovery.REPLACE),  # the lost append had arrived
        (3, (2,), conflict(4), Recovery.REPLACE),  # and then a part of it was lost
        (3, (2,), conflict(6), Recovery.NONE),  # another writer
        (3, (), conflict(4), Recovery.NONE),
        (0, (), conflict(1), Recovery.NONE),  # a session of an earlier run
    ],
)
def test_what_helps_after_a_refusal(length, sent, error, expected):
    state = state_of(length)
    for count in sent:
        state.begin_append(count)
    assert expected is state.recovery(error, WINDOW)


def test_nothing_helps_without_the_vectors():
    state = state_of(3, keep=False)
    assert [Recovery.NONE] * 2 == [state.recovery(error, WINDOW) for error in (GONE, conflict(0))]


def test_the_last_window_is_enough():
    """A session that was continued by its length alone can be primed after a window of vectors."""
    state = SessionState("a", KeptVectors(), length=100, position=100)
    can = []
    for number in range(5):
        can.append(state.can_prime(WINDOW))
        state.commit(rows(1, number), state.position + 1, WINDOW)
    assert [False] * 4 + [True] == can


def test_a_session_is_primed_with_as_much_as_a_version_reads():
    state = state_of(10)
    assert [7, 8, 9, 99] == state.rows_to_prime(rows(1, 99), WINDOW)[:, 0].tolist()
    assert [99, 100, 101, 102, 103] == state.rows_to_prime(rows(5, 99), WINDOW)[:, 0].tolist()
    assert WINDOW == len(state.kept)


def test_everything_is_kept_while_the_window_is_unknown():
    state = SessionState("a", KeptVectors())
    state.commit(rows(50), 50, None)
    assert 51 == len(state.rows_to_prime(rows(1), None))


def test_a_refused_append_may_not_hide_one_that_arrived():
    """The second append of the same size is refused; the first may still have arrived."""
    state = state_of(1)
    assert [True, False] == [state.begin_append(2), state.begin_append(2)]
