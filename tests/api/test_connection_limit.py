"""The bound on open connections."""

from __future__ import annotations

import pytest

from service.api.connection_limit import ConnectionLimit, largest_number_of_connections


class FakeConnection:
    def __init__(self, limit):
        self.limit, self.evicted = limit, False
        self.admitted = limit.add(self)

    def evict(self):
        self.evicted = True
        self.limit.remove(self)


@pytest.fixture
def limit():
    return ConnectionLimit(3)


def test_the_connection_that_waited_longest_makes_room(limit):
    first, second, third = (FakeConnection(limit) for _ in range(3))
    limit.wait(first)
    newcomer = FakeConnection(limit)
    assert newcomer.admitted
    assert (first.evicted, second.evicted, third.evicted) == (False, True, False)
    assert len(limit) == 3


def test_a_request_that_is_answered_is_never_cut_off(limit):
    busy = [FakeConnection(limit) for _ in range(3)]
    for connection in busy:
        limit.answer(connection)
    newcomer = FakeConnection(limit)
    assert not newcomer.admitted
    assert not any(connection.evicted for connection in busy)
    limit.wait(busy[1])
    limit.remove(newcomer)
    assert FakeConnection(limit).admitted
    assert busy[1].evicted


def test_the_number_never_exceeds_what_is_wanted():
    assert largest_number_of_connections(1) == 1
    assert 1 <= largest_number_of_connections(10**6) <= 10**6
