"""The oracle: right answers pass, also after a takeover; answers of a wrong history do not."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.fleet.drill.oracle import Oracle, distance
from loadtest.fleet.drill.transcript import Answer, Transcript
from loadtest.streams import Streams
from tests.support.fakes import FakeEngine, unit_vectors

STREAMS = Streams(unit_vectors(500))


def transcript(*answers, caller=3, start=10):
    return Transcript("s", caller, start, list(answers))


def right(length, caller=3, start=10):
    vector = FakeEngine().expected(STREAMS.read(caller, start, length))
    return Answer(length, "v", vector, 0.0)


def verify(*transcripts):
    return Oracle({"v": FakeEngine()}, STREAMS).verify(transcripts)


def test_answers_of_sessions_of_any_length_are_right():
    """More sessions than one batch, and an empty one."""
    sessions = [
        transcript(*(right(n, c, c) for n in range(1, 2 + c)), caller=c, start=c) for c in range(40)
    ]
    checked = verify(*sessions, transcript())
    assert () == checked.wrong
    assert sum(range(1, 41)) == checked.answers
    assert checked.distance < 1e-6


@pytest.mark.parametrize(
    "answer",
    [
        Answer(3, "v", right(2).vector, 0.0),
        Answer(3, "v", right(3).vector * np.nan, 0.0),
        Answer(3, "v", right(3).vector * 0, 0.0),
        Answer(3, "v", right(3, caller=4).vector, 0.0),
        Answer(3, "unknown", right(3).vector, 0.0),
    ],
    ids=["of another length", "not a number", "zero", "of another session", "unknown version"],
)
def test_a_wrong_answer_is_found(answer):
    checked = verify(transcript(right(2), answer))
    assert [answer] == [found.answer for found in checked.wrong]
    assert 2 == checked.answers


def test_a_distance_is_of_directions():
    assert 0 == pytest.approx(distance(np.array([1.0, 0]), np.array([3.0, 0])))
    assert 2 == pytest.approx(distance(np.array([1.0, 0]), np.array([-3.0, 0])))
