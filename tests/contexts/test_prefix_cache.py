"""The prefix cache finds a state only for the same caller, version and vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contexts.prefix_cache import ENTRY_BYTES, PrefixCache
from service.errors import Invalid
from tests.support.fakes import unit_vectors

BLOCK = 4
STATE_BYTES = 8


def state(mark):
    return np.array([mark, mark], np.float32)


async def seen(cache, context, caller=b"a", version="v"):
    """Look the context up, and keep a state for every length that it may have one of."""
    prefix = await cache.find(caller, version, context)
    states = [(n, state(n)) for n in range(prefix.length + 1, len(context) + 1)]
    cache.keep(prefix, states)
    return prefix.length


@pytest.mark.parametrize(
    ("before", "now", "known"),
    [(10, 10, 8), (10, 11, 10), (10, 30, 10), (10, 9, 8), (10, 5, 4), (10, 3, 0), (1, 2, 1)],
)
async def test_the_longest_known_prefix_is_found(before, now, known):
    """At the end of a block or of a context; never the whole context, because one vector runs."""
    cache = PrefixCache(10**6, BLOCK)
    vectors = unit_vectors(40)
    await seen(cache, vectors[:before])
    prefix = await cache.find(b"a", "v", vectors[:now])
    assert known == prefix.length
    if known:
        np.testing.assert_array_equal(state(known), prefix.state)


@pytest.mark.parametrize(
    ("now", "before", "others", "behind"),
    [
        (8, {"v": 6, "w": 7}, ["v", "w"], True),
        (8, {"v": 7, "w": 7}, ["v", "w"], False),
        (8, {"v": 7, "w": 6}, ["v", "w"], False),
        (8, {"w": 7}, ["w"], True),
        (8, {"w": 7}, [], False),
        (8, {"v": 7, "w": 8}, ["v", "w"], False),
        (8, {}, ["v", "w"], False),
    ],
)
async def test_a_version_that_knows_less_is_behind(now, before, others, behind):
    """The comparison is of the lengths of the known prefixes."""
    cache = PrefixCache(10**6, 100)
    vectors = unit_vectors(10)
    for version, length in before.items():
        await seen(cache, vectors[:length], version=version)
    assert behind == (await cache.find(b"a", "v", vectors[:now], others)).behind


@pytest.mark.parametrize(
    ("caller", "version"), [(b"b", "v"), (b"a", "w"), (b"av", ""), (b"", "av")]
)
async def test_another_caller_or_version_finds_nothing(caller, version):
    """Also not a pair of names whose concatenation is the same."""
    cache = PrefixCache(10**6, BLOCK)
    await seen(cache, unit_vectors(10))
    assert (await cache.find(caller, version, unit_vectors(20))).length == 0


async def test_a_different_vector_ends_the_known_prefix():
    """Even if only its last bit differs."""
    cache = PrefixCache(10**6, BLOCK)
    vectors = unit_vectors(20)
    await seen(cache, vectors)
    changed = vectors.copy()
    changed[5, 0] = np.nextafter(changed[5, 0], np.float32(2))
    assert (await cache.find(b"a", "v", changed)).length == 4


async def test_a_long_context_is_hashed_off_the_loop_to_the_same_digests():
    cache = PrefixCache(10**6, 128)
    vectors = unit_vectors(300, dim=768)
    await seen(cache, vectors[:20])
    assert await seen(cache, vectors) == 20
    assert (await cache.find(b"a", "v", vectors)).length == 256


async def test_the_least_recently_used_states_are_evicted_over_the_limit():
    cache = PrefixCache(3 * (STATE_BYTES + ENTRY_BYTES), BLOCK)
    first, second, third, fourth = (unit_vectors(3, seed) for seed in range(4))
    for context in (first, second, third):
        await seen(cache, context)
    longer = np.concatenate([first, fourth[:1]])
    assert (await cache.find(b"a", "v", longer)).length == 3  # used, so not the oldest
    await seen(cache, fourth)
    assert len(cache) == 3
    for context, known in ((first, 3), (second, 0), (third, 3)):
        grown = np.concatenate([context, fourth[:1]])
        assert (await cache.find(b"a", "v", grown)).length == known


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=30))
async def test_its_size_is_the_sum_of_its_states_and_within_the_limit(requests):
    """For any requests in any order."""
    most = 6 * (STATE_BYTES + ENTRY_BYTES)
    cache = PrefixCache(most, BLOCK)
    for length, seed in requests:
        await seen(cache, unit_vectors(30, seed)[:length])
        assert len(cache) * (STATE_BYTES + ENTRY_BYTES) == cache.nbytes <= most
        assert sum(cache._lengths.values()) == len(cache)


@pytest.mark.parametrize("rows", [20, 600])
async def test_a_context_is_checked_in_the_pass_that_hashes_it(rows):
    """Every vector once and in order, on the event loop or in the thread."""
    checked = []
    context = unit_vectors(rows, dim=64)
    await PrefixCache(10**6, 250).find(
        b"a", "v", context, check=lambda piece, first: checked.append((first, len(piece)))
    )
    ends = [first + length for first, length in checked]
    assert [0, *ends[:-1]] == [first for first, _ in checked]
    assert rows == ends[-1]


async def test_a_context_that_fails_its_check_is_not_looked_up():
    def refuse(_piece, first):
        raise Invalid(f"vector {first}")

    with pytest.raises(Invalid, match="vector 0"):
        await PrefixCache(10**6, BLOCK).find(b"a", "v", unit_vectors(600), check=refuse)
