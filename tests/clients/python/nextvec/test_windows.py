"""How many vectors of a session are worth keeping."""

from __future__ import annotations

import json

import pytest

from nextvec.errors import TransportError
from nextvec.exchange import Budget, Failure, Reply, RetryPolicy
from nextvec.windows import USUAL_WINDOW, WindowTable, learn


def learned(outcome):
    table = WindowTable()
    operation = learn(table, "phase-2", Budget(RetryPolicy(), 30, 60, lambda: 0, lambda: 0))
    call = operation.send(None)
    assert ("GET", "/v2") == (call.method, call.path)
    with pytest.raises(StopIteration):
        operation.send(outcome)
    return table


def test_the_largest_window_of_all_versions_counts():
    models = [
        {"version": "phase-2", "context_window": 500},
        {"version": "phase-3", "context_window": 1000},
    ]
    table = learned(Reply(200, {}, json.dumps({"models": models}).encode()))
    assert 1000 == table.largest
    assert [False, False, True] == [table.is_new(f"phase-{n}") for n in (2, 3, 4)]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"models": [{"version": "a", "context_window": null}]}']
)
def test_a_service_that_does_not_tell_has_the_usual_window(content):
    assert USUAL_WINDOW == learned(Reply(200, {}, content)).largest
    assert USUAL_WINDOW == learned(Reply(404, {}, content)).largest


def test_after_no_answer_the_service_is_asked_again():
    table = learned(Failure(TransportError("lost")))
    assert (None, True) == (table.largest, table.is_new("phase-2"))
