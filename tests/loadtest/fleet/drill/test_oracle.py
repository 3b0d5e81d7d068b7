"""The oracle: right answers pass, also after a takeover; answers of a wrong history do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from architectures import checkpoint
from loadtest import streams
from loadtest.fleet.drill.oracle import DISTANCE, Oracle, distance
from loadtest.fleet.drill.transcript import Answer, Transcript
from loadtest.streams import Streams
from service.contexts.history import History
from tests.support.fakes import FakeEngine, unit_vectors
from tests.support.sources import ROOT

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


def test_the_largest_distance_can_be_chosen():
    """Answers in 8 bits are a little off."""
    near = right(3).vector + np.float32(0.005) * right(2).vector
    transcripts = [transcript(Answer(3, "v", near, 0.0))]
    strict = Oracle({"v": FakeEngine()}, STREAMS, 1e-9).verify(transcripts)
    lenient = Oracle({"v": FakeEngine()}, STREAMS, 1e-2).verify(transcripts)
    assert (1, 0) == (len(strict.wrong), len(lenient.wrong))
    assert 0 < lenient.distance < 1e-2


def test_a_distance_is_of_directions():
    assert 0 == pytest.approx(distance(np.array([1.0, 0]), np.array([3.0, 0])))
    assert 2 == pytest.approx(distance(np.array([1.0, 0]), np.array([-3.0, 0])))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["phase-2", "phase-3"])
def test_the_bound_tells_a_right_history_from_a_wrong_one(version):
    """On the sample and the shipped models, which the drill runs."""
    model = checkpoint.load(ROOT / "checkpoints" / f"{version}.safetensors")

    def predicted(rows):
        with torch.no_grad():
            return model.predict(torch.from_numpy(np.ascontiguousarray(rows))[:, None])[0][
                0
            ].numpy()

    for caller in range(4):
        rows = streams.load().read(caller, 0, 32)
        history = History(1000, 768, compact=True)
        history.append(rows)
        right = predicted(rows)
        recomputed = predicted(np.asarray(history.last(len(rows)), np.float32))
        assert distance(right, recomputed) < DISTANCE / 100
        for back in range(1, 6):
            missing = np.delete(rows, -1 - back, 0)
            twice = np.insert(rows, -back, rows[-1 - back], 0)
            assert distance(right, predicted(missing)) > 10 * DISTANCE, back
            assert distance(right, predicted(twice)) > 10 * DISTANCE, back
