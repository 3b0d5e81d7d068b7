"""A session past its window, under each policy, on an engine that can be reckoned."""

from __future__ import annotations

import numpy as np
import pytest

from model_export import session_quality
from service.contexts.window import starts
from tests.support.fakes import FakeEngine, unit_vectors

STREAM = unit_vectors(60)
TARGETS = np.array([9, 12, 13, 30, 59], np.int64)


def test_exact_reads_the_window_before_the_target():
    predicted = session_quality.exact(FakeEngine(0.9), STREAM, TARGETS, 8)
    for target, answer in zip(TARGETS, predicted, strict=True):
        expected = FakeEngine(0.9).expected(STREAM[target - 8 : target])
        np.testing.assert_allclose(expected, answer, rtol=1e-4, atol=1e-6)


def test_anchored_reads_from_where_the_service_begins():
    predicted = session_quality.anchored(FakeEngine(0.9), STREAM, TARGETS, 8)
    for target, answer in zip(TARGETS, predicted, strict=True):
        begin = starts("anchored", 8, int(target))[0]
        expected = FakeEngine(0.9).expected(STREAM[begin:target])
        np.testing.assert_allclose(expected, answer, rtol=1e-4, atol=1e-6)


def test_a_stream_that_was_packed_once_is_unpacked_at_random_within_its_steps():
    """Packed again it comes out as it was; a compact history is not free of cost on it."""
    packed = session_quality.compact(unit_vectors(20, dim=768))
    stream = session_quality.with_rounding_noise(packed)
    assert not np.array_equal(packed, stream)
    np.testing.assert_allclose(packed, stream, atol=np.abs(packed).max() / 100)
    again = np.abs(session_quality.compact(stream) - stream).max()
    assert again > 0.3 * np.abs(stream).max() / 127


def test_every_way_is_held_against_exact():
    """Exact against itself gains and loses nothing; the better engine stands out."""
    lines = session_quality.measure(
        FakeEngine(0.9), {"fp32": FakeEngine(0.9), "int8": FakeEngine(0.5)}, STREAM, 8, 40
    )
    assert [
        "exact",
        "exact, compact history",
        "anchored, steps in fp32",
        "anchored, steps in int8",
    ] == [line.name for line in lines]
    first, _, near, far = lines
    assert (0, 0) == (first.gained, first.lost)
    assert pytest.approx(1, abs=1e-6) == first.min_cosine
    assert near.mean_cosine > far.mean_cosine
    for line in lines:
        assert line.gained - line.lost == round(40 * (line.hit_at_5 - first.hit_at_5))


def test_a_pool_past_the_window_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="a pool of 400"):
        session_quality.measure(FakeEngine(), {}, STREAM, 8, 400)
