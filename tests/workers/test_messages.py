"""What travels between a worker and the engine process arrives unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contexts.session_store import SessionStart
from service.prediction.request import Prediction
from service.rollout.routing.traffic_split import Route
from service.types import Variant
from service.workers import messages
from service.workers.frames import Frame, FrameDecoder, FrameError, FrameKind
from service.workers.messages import EngineCall, ServiceState

DIM = 4
TEXTS = st.none() | st.text(st.characters(), min_size=1, max_size=40)
CALLS = st.builds(
    EngineCall,
    st.just([1]),
    st.floats(0, 1e9),
    position=st.none() | st.integers(0, 2**62),
    begin=st.sampled_from(SessionStart),
    end=st.booleans(),
    session=TEXTS,
    key=TEXTS,
    override=st.none() | st.sampled_from(Variant),
    version=TEXTS,
    timeout_seconds=st.none() | st.floats(0.001, 100),
    caller=st.none() | st.binary(min_size=16, max_size=16),
    request_id=TEXTS,
    owner=TEXTS,
    traceparent=TEXTS,
    batch=st.booleans(),
)


def sent(encoded: bytes) -> Frame:
    (frame,) = FrameDecoder().feed(encoded)
    return frame


@given(CALLS, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2**64 - 1))
def test_a_call_arrives_as_it_was_sent(call, lengths, number):
    call.lengths = lengths[:1] if call.session is not None else lengths
    vectors = np.arange(sum(call.lengths) * DIM, dtype=np.float32).reshape(-1, DIM)
    frame = sent(messages.encode_call(number, call, vectors))
    found, rows = messages.decode_call(frame, DIM)
    assert (number, call) == (frame.number, found)
    assert rows.flags.aligned
    np.testing.assert_array_equal(vectors, rows)


@given(CALLS, st.integers(0, 2**63))
def test_vectors_in_shared_memory_are_named_by_their_place(call, place):
    _, found = messages.decode_call(sent(messages.encode_call(1, call, place)), DIM)
    assert place == found


@given(CALLS, st.integers(0, 200))
def test_a_call_that_is_cut_short_is_an_error(call, kept):
    frame = sent(messages.encode_call(1, call, np.ones((1, DIM), np.float32)))
    whole = len(frame.body)
    short = frame._replace(body=frame.body[: min(kept, whole - 8 * DIM)])
    with pytest.raises(FrameError):
        messages.decode_call(short, DIM)


@pytest.mark.parametrize("flags", [3, 12])
def test_flags_that_mean_nothing_are_an_error(flags):
    frame = sent(messages.encode_call(1, EngineCall([1], 0.0), np.ones((1, DIM), np.float32)))
    with pytest.raises(FrameError):
        messages.decode_call(frame._replace(flags=flags), DIM)


def test_only_an_append_has_a_session():
    frame = sent(messages.encode_call(1, EngineCall([1], 0.0), np.ones((1, DIM), np.float32)))
    with pytest.raises(FrameError):
        messages.decode_call(frame._replace(kind=FrameKind.APPEND), DIM)


def test_a_text_that_is_too_long_is_an_error():
    call = EngineCall([1], 0.0, version="v" * 5000)
    with pytest.raises(FrameError, match="longer than"):
        messages.encode_call(1, call, np.ones((1, DIM), np.float32))


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0, 10), st.none() | st.integers(0, 2**40)),
        min_size=1,
        max_size=4,
    ),
    st.none() | st.sampled_from(Variant),
    st.text(max_size=20),
)
def test_predictions_arrive_as_they_were_sent(rows, variant, version):
    route = Route(variant, version, assigned=True)
    predictions = [
        Prediction(np.full(DIM, number, np.float32), route, queue, inference, length)
        for number, (queue, inference, length) in enumerate(rows)
    ]
    found = messages.decode_result(sent(messages.encode_result(7, predictions)), DIM)
    for expected, arrived in zip(predictions, found, strict=True):
        np.testing.assert_array_equal(expected.vector, arrived.vector)
        for name in ("route", "queue_seconds", "inference_seconds", "length"):
            assert getattr(expected, name) == getattr(arrived, name)


@given(st.integers(0, 64))
def test_a_result_that_is_cut_short_is_an_error(kept):
    route = Route(Variant.STABLE, "phase-2", assigned=True)
    frame = sent(messages.encode_result(1, [Prediction(np.ones(DIM, np.float32), route, 0, 0)]))
    short = frame._replace(body=frame.body[: min(kept, len(frame.body) - 8)])
    with pytest.raises(FrameError):
        messages.decode_result(short, DIM)


@given(st.text(max_size=100), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_an_admission_arrives_as_it_was_sent(name, requests, vectors):
    frame = sent(messages.encode_admission(1, name, requests, vectors))
    assert (name, requests, vectors) == messages.decode_admission(frame)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=10))
def test_released_places_arrive_as_they_were_sent(places):
    assert places == messages.decode_release(sent(messages.encode_release(places)))


def test_the_state_arrives_as_it_was_sent():
    state = ServiceState(accepting=True, draining=False, versions=2, dim=768)
    assert state == messages.decode_state(sent(messages.encode_state(state)))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"accepting": tru'])
def test_a_state_that_is_none_is_an_error(body):
    with pytest.raises(FrameError):
        messages.decode_state(Frame(FrameKind.STATE, 0, 0, memoryview(body)))
