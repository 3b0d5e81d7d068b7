"""The frames of `/v1/steps`: what is sent arrives, and what is cut short is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Conflict, QueueFull
from service.prediction.request import Prediction, SessionAppend
from service.rollout.routing.traffic_split import Route
from service.types import Variant
from service.workers.failures import EngineBugError
from service.workers.frames import FrameDecoder, FrameError, FrameKind
from service.workers.group_messages import (
    GroupHead,
    decode_group,
    decode_outcomes,
    encode_group,
    encode_outcomes,
)
from tests.support.fakes import unit_vectors

HEAD = GroupHead(12.5, Variant.CANARY, 1.5, "r-1", "somebody", None)
APPENDS = [
    SessionAppend("a", unit_vectors(1, 1), 0),
    SessionAppend("b" * 128, unit_vectors(1, 2), None),
    SessionAppend("c", unit_vectors(1, 3), 2**62),
]
VECTORS = np.concatenate([each.vectors for each in APPENDS])
OUTCOMES = [
    Prediction(unit_vectors(1, 4)[0], Route(Variant.STABLE, "phase-2", True), 0.1, 0.2, 7),  # noqa: FBT003
    Conflict("stale", code="position_mismatch", details={"position": 3}),
    Prediction(unit_vectors(1, 5)[0], Route(None, "phase-1", True), 0.3, 0.4, 1),  # noqa: FBT003
    QueueFull("full", 2.5),
]


def only_frame(content):
    (frame,) = FrameDecoder().feed(content)
    return frame


def test_a_group_arrives_as_it_was_sent():
    frame = only_frame(encode_group(9, HEAD, APPENDS, VECTORS))
    head, appends = decode_group(frame, 4)
    assert (FrameKind.STEPS, 9, HEAD) == (frame.kind, frame.number, head)
    for sent, found in zip(APPENDS, appends, strict=True):
        assert (sent.session, sent.position) == (found.session, found.position)
        np.testing.assert_array_equal(sent.vectors, found.vectors)


def test_vectors_with_a_place_are_not_in_the_frame():
    content = encode_group(9, HEAD._replace(place=4096), APPENDS, None)
    head, appends = decode_group(only_frame(content), 4)
    assert (4096, 3) == (head.place, len(appends))
    assert len(content) < len(encode_group(9, HEAD, APPENDS, VECTORS))


def test_outcomes_arrive_in_order_with_their_errors():
    frame = only_frame(encode_outcomes(9, OUTCOMES, 4))
    found = decode_outcomes(frame, 4)
    assert (FrameKind.OUTCOMES, 9) == (frame.kind, frame.number)
    for number in (0, 2):
        np.testing.assert_array_equal(OUTCOMES[number].vector, found[number].vector)
        assert OUTCOMES[number][1:] == found[number][1:]
    assert ({"position": 3}, "position_mismatch") == (found[1].details, found[1].code)
    assert (QueueFull, 2.5) == (type(found[3]), found[3].retry_after)


def test_an_error_that_is_none_of_the_services_own_is_raised():
    class OtherError(Conflict):
        """Known in one process only."""

    content = encode_outcomes(1, [OtherError("x")], 4)
    assert isinstance(decode_outcomes(only_frame(content), 4)[0], Conflict)
    with pytest.raises(EngineBugError):
        decode_outcomes(only_frame(content.replace(b"Conflict", b"Conflicx")), 4)


@pytest.mark.parametrize(
    ("content", "decode"),
    [
        (encode_group(1, HEAD, APPENDS, VECTORS), decode_group),
        (encode_outcomes(1, OUTCOMES, 4), decode_outcomes),
    ],
)
@given(data=st.data())
def test_what_is_cut_short_or_damaged_is_refused_or_read(content, decode, data):
    """Nothing but a `FrameError`, or an error that an outcome stands for, comes of it."""
    body = bytearray(only_frame(content).body)
    size = data.draw(st.integers(0, len(body)))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[at] = data.draw(st.integers(0, 255))
    kind = FrameKind.STEPS if decode is decode_group else FrameKind.OUTCOMES
    frame = only_frame(content)._replace(kind=kind, body=memoryview(bytes(body[:size])))
    try:
        decode(frame, 4)
    except (FrameError, EngineBugError):
        return
