"""Frames survive every way in which a stream can be cut, and nothing else passes for one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.workers.frames import (
    HEAD,
    MAX_FRAME_BYTES,
    FrameDecoder,
    FrameError,
    FrameKind,
    encode,
)

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(FrameKind),
        st.integers(0, 2**64 - 1),
        st.integers(0, 255),
        st.binary(max_size=100),
    ),
    max_size=8,
)


def pieces(stream, cuts):
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 1000)))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, cuts):
    stream = b"".join(encode(kind, number, flags, body) for kind, number, flags, body in frames)
    decoder = FrameDecoder()
    found = [frame for piece in pieces(stream, cuts) for frame in decoder.feed(piece)]
    assert [(kind, number, flags) for kind, number, flags, _ in frames] == [
        (frame.kind, frame.number, frame.flags) for frame in found
    ]
    for (_, _, _, body), frame in zip(frames, found, strict=True):
        assert body == bytes(frame.body[: len(body)])
        assert not any(frame.body[len(body) :])
    assert decoder.pending == 0


@given(FRAMES.filter(len), st.data())
def test_a_frame_that_is_cut_short_stays_pending(frames, data):
    """What came before it is there."""
    encoded = [encode(kind, number, flags, body) for kind, number, flags, body in frames]
    kept = data.draw(st.integers(1, len(encoded[-1]) - 1))
    decoder = FrameDecoder()
    found = decoder.feed(b"".join(encoded[:-1]) + encoded[-1][:kept])
    assert len(frames) - 1 == len(found)
    assert kept == decoder.pending


@given(st.binary(min_size=HEAD.size, max_size=200))
def test_garbage_is_an_error_or_waits_for_a_frame_of_a_possible_size(garbage):
    decoder = FrameDecoder()
    try:
        decoder.feed(garbage)
    except FrameError:
        return
    size, kind, *_ = HEAD.unpack_from(garbage)
    assert kind in {int(each) for each in FrameKind}
    assert size <= MAX_FRAME_BYTES


def test_the_bodies_of_frames_are_aligned_for_float32():
    for length in range(20):
        stream = encode(FrameKind.RESULT, 1, 0, bytes(length)) + encode(FrameKind.RESULT, 2)
        assert len(stream) % 8 == 0


def test_too_large_a_frame_is_refused():
    with pytest.raises(FrameError, match="larger than"):
        encode(FrameKind.RESULT, 1, 0, bytes(MAX_FRAME_BYTES))
