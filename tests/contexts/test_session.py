"""A session plans an append without a change, and changes only when it commits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contexts.history import History
from service.contexts.session import Session
from service.errors import Conflict
from service.types import Variant
from tests.support.fakes import DIM, FakeEngine, manifest_of, unit_vectors

WINDOW = 8
LONGEST = 40


def session_of():
    return Session("s", History(LONGEST, DIM))


def run(engine, plan):
    """The states and predictions of the plan's runs."""
    states, vectors = [], []
    for each in plan.runs:
        state = np.zeros((1, DIM), np.float32) if each.state is None else each.state
        lengths = np.array([len(each.vectors)], np.int32)
        predicted, after = engine.run(each.vectors[:, None], lengths, state[:, None])
        states.append(after[:, 0])
        vectors.append(predicted[0])
    return states, vectors[0]


def append(session, engine, vectors, manifest, digest="graph", **options):
    plan = session.plan_append(vectors, manifest, digest, **options)
    states, vector = run(engine, plan)
    session.commit(plan, states, vector, Variant.STABLE, manifest.version)
    return plan, vector


def contents(session):
    return session.length, len(session.history), dict(session.states), session.last


@pytest.mark.parametrize("policy", ["exact", "anchored"])
@given(pieces=st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_appends_predict_as_the_whole_context_does(policy, pieces):
    """In whatever pieces the vectors come, also past the window."""
    engine, manifest = FakeEngine(), manifest_of("phase-2", WINDOW, "graph", policy)
    session, vectors = session_of(), unit_vectors(LONGEST)
    position = 0
    for count in pieces:
        _, vector = append(session, engine, vectors[position : position + count], manifest)
        position += count
    start = next(iter(session.states))
    assert session.length == position
    np.testing.assert_allclose(engine.expected(vectors[start:position]), vector, atol=1e-5)


def test_a_plan_changes_nothing():
    """An append that fails in the engine leaves the session as it was."""
    engine, manifest = FakeEngine(), manifest_of("phase-2", WINDOW, "graph")
    session = session_of()
    append(session, engine, unit_vectors(3), manifest)
    before = contents(session)
    session.plan_append(unit_vectors(2, 1), manifest, "graph")
    session.plan_append(unit_vectors(2, 1), manifest, "another")
    session.plan_append(unit_vectors(2, 1), manifest, "graph", restart=True)
    assert before == contents(session)


def test_another_graph_is_primed_from_the_history():
    """Its states cannot be used; the prediction is that of the whole context."""
    engine = FakeEngine()
    session, vectors = session_of(), unit_vectors(5)
    first, _ = append(session, engine, vectors[:4], manifest_of("phase-2", WINDOW, "a"), "a")
    other = FakeEngine(0.9)
    moved, vector = append(session, other, vectors[4:], manifest_of("phase-3", WINDOW, "b"), "b")
    assert (first.primed, moved.primed) == (False, True)
    assert (session.version, session.graph_digest) == ("phase-3", "b")
    np.testing.assert_allclose(other.expected(vectors), vector, atol=1e-6)


def test_a_restart_forgets_what_was_there():
    engine, manifest = FakeEngine(), manifest_of("phase-2", WINDOW, "graph")
    session, vectors = session_of(), unit_vectors(2, 7)
    append(session, engine, unit_vectors(5), manifest)
    session.pending = "a prediction"
    plan, vector = append(session, engine, vectors, manifest, restart=True)
    assert (plan.position, plan.primed) == (0, False)
    assert (session.length, len(session.history), session.pending) == (2, 2, None)
    np.testing.assert_allclose(engine.expected(vectors), vector, atol=1e-6)


def test_a_repeat_of_the_last_append_returns_its_prediction():
    engine, manifest = FakeEngine(), manifest_of("phase-2", WINDOW, "graph")
    session = session_of()
    append(session, engine, unit_vectors(3), manifest)
    last = unit_vectors(2, 1)
    _, vector = append(session, engine, last, manifest)
    assert session.repeated(last.copy(), 3) is vector


@pytest.mark.parametrize(("seed", "position"), [(1, 2), (1, 5), (2, 3)])
def test_any_other_mismatch_is_a_conflict_with_the_true_position(seed, position):
    engine, manifest = FakeEngine(), manifest_of("phase-2", WINDOW, "graph")
    session = session_of()
    append(session, engine, unit_vectors(3), manifest)
    append(session, engine, unit_vectors(2, 1), manifest)
    with pytest.raises(Conflict) as raised:
        session.repeated(unit_vectors(2, seed), position)
    assert raised.value.details == {"position": 5}
    assert raised.value.code == "position_mismatch"
