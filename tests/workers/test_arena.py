"""Shared memory: places never overlap, and come back when nothing refers to them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import QueueFull
from service.workers.arena import Arena, MappedArena, PlaceAllocator
from service.workers.frames import FrameError

SIZE = 4096


class PlaceMachine(RuleBasedStateMachine):
    """Places that are taken and given back in any order."""

    def __init__(self):
        super().__init__()
        self.allocator = PlaceAllocator(SIZE)
        self.taken = {}

    @rule(size=st.integers(1, SIZE))
    def take(self, size):
        try:
            self.taken[self.allocator.take(size)] = size
        except QueueFull:
            held = sum(-(-each // 64) * 64 for each in self.taken.values())
            assert self.taken
            assert size > 64 or held + size > 64

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data):
        place = data.draw(st.sampled_from(sorted(self.taken)))
        self.allocator.give_back(place)
        del self.taken[place]
        with pytest.raises(FrameError):
            self.allocator.give_back(place)

    @invariant()
    def places_do_not_overlap(self):
        end = 0
        for place, size in sorted(self.taken.items()):
            assert place >= end
            assert place % 64 == 0
            end = place + size
        assert end <= SIZE
        assert len(self.taken) == self.allocator.taken

    def teardown(self):
        for place in self.taken:
            self.allocator.give_back(place)
        assert self.allocator.take(SIZE) == 0, "all gaps have become one"


TestPlaces = PlaceMachine.TestCase


@pytest.fixture
def pair():
    """Both sides of an arena, and the places that came back."""
    released = []
    arena = Arena(SIZE)
    mapped = MappedArena(os.dup(arena.descriptor), released.append)
    yield arena, mapped, released
    os.close(arena.descriptor)


def test_the_other_side_reads_what_was_put(pair):
    arena, mapped, _ = pair
    first, second = np.ones((2, 4), np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)
    places = [arena.put(first), arena.put(second)]
    np.testing.assert_array_equal(second, mapped.read(places[1], 2, 4))
    np.testing.assert_array_equal(first, mapped.read(places[0], 2, 4))


def test_a_place_comes_back_when_the_last_view_of_it_has_gone(pair):
    """A shadow copy may outlive its request."""
    arena, mapped, released = pair
    place = arena.put(np.ones((4, 4), np.float32))
    vectors = mapped.read(place, 4, 4)
    kept = vectors[-2:][1]
    del vectors
    assert [] == released
    del kept
    assert [place] == released


def test_vectors_cannot_be_written_or_read_outside_of_the_memory(pair):
    _, mapped, _ = pair
    with pytest.raises(ValueError, match="read-only"):
        mapped.read(0, 1, 4)[0, 0] = 1.0
    for place, rows in ((SIZE, 1), (SIZE - 8, 1), (2**63, 1), (0, SIZE)):
        with pytest.raises(FrameError, match="outside"):
            mapped.read(place, rows, 4)


def test_a_full_arena_refuses(pair):
    arena, _, _ = pair
    arena.put(np.ones((SIZE // 16, 4), np.float32))
    with pytest.raises(QueueFull):
        arena.put(np.ones((1, 4), np.float32))
