"""The shared store: order of use, size, age, and pinned values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bounded_store import BoundedStore

MAX_SIZE, MAX_AGE = 10, 5.0

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 6), st.integers(0, 6)),
        st.tuples(st.just("touch"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("pop"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("shrink"), st.just(0), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 4), st.just(0)),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_it_behaves_as_a_list_in_order_of_use(operations):
    """The model is a plain list of (key, size, time of use), the least recently used first."""
    store: BoundedStore[int, str] = BoundedStore(max_size=MAX_SIZE, max_age=MAX_AGE)
    model: list[tuple[int, int, float]] = []
    now = 0.0
    for name, key, size in operations:
        found = next((entry for entry in model if entry[0] == key), None)
        if name == "put":
            store.put(key, str(key), size=size, now=now)
            model = [entry for entry in model if entry[0] != key] + [(key, size, now)]
        elif name == "touch" and found:
            store.touch(key)
            model = [entry for entry in model if entry[0] != key] + [found]
        elif name == "pop":
            assert store.pop(key) == (str(key) if found else None)
            model = [entry for entry in model if entry[0] != key]
        elif name == "shrink":
            expected = []
            while sum(entry[1] for entry in model) > MAX_SIZE:
                expected.append(model.pop(0)[0])
            assert expected == [evicted for evicted, _ in store.shrink()]
        elif name == "expire":
            expected = []
            while model and model[0][2] <= now - MAX_AGE:
                expected.append(model.pop(0)[0])
            assert expected == [evicted for evicted, _ in store.expire(now)]
        elif name == "wait":
            now += key
        assert store.size == sum(entry[1] for entry in model)
        assert len(store) == len(model)
        assert all(store.get(key) == str(key) and key in store for key, _, _ in model)


def test_a_pinned_value_is_skipped_by_size_and_stops_expiry():
    pinned = {"a"}
    store: BoundedStore[str, str] = BoundedStore(
        max_size=1, max_age=1.0, is_pinned=pinned.__contains__
    )
    for key in "abc":
        store.put(key, key)
    assert [] == store.expire(10.0)
    assert [("b", "b"), ("c", "c")] == store.shrink()
    pinned.clear()
    assert [("a", "a")] == store.expire(10.0)
    assert 0 == len(store) == store.size


def test_all_pinned_values_stay_over_the_limit():
    store: BoundedStore[str, str] = BoundedStore(max_size=1, is_pinned=lambda _: True)
    store.put("a", "a", size=5)
    assert [] == store.shrink()
    assert store.get("a") == "a"


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (2, 2), (math.inf, 3)])
def test_expiry_stops_at_its_limit(limit, expected):
    store: BoundedStore[int, None] = BoundedStore(max_age=1.0)
    for key in range(3):
        store.put(key, None)
    assert expected == len(store.expire(1.0, limit))


def test_clear_removes_everything():
    store: BoundedStore[int, None] = BoundedStore(max_size=5)
    store.put(1, None, size=9)
    store.clear()
    assert 0 == len(store) == store.size
    assert [] == store.shrink()
