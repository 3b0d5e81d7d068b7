"""Predictions that wait for a label."""

from __future__ import annotations

import pytest

from service.errors import Gone, NotFound
from service.quality.prediction_store import OVERHEAD_BYTES, TOMBSTONES, MemoryPredictionStore
from tests.support.fakes import FakeClock, unit_vectors
from tests.support.quality_fakes import prediction

MADE = prediction(unit_vectors(1)[0])
SIZE = OVERHEAD_BYTES + MADE.vector.nbytes
ME, YOU = b"me", b"you"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def kept(clock):
    return MemoryPredictionStore(clock, max_bytes=3 * SIZE, ttl_seconds=60.0)


async def test_a_prediction_is_taken_once(kept):
    kept.keep(ME, "a", MADE)
    assert MADE is await kept.take(ME, "a")
    assert await kept.take(ME, "a") is None


async def test_a_caller_cannot_label_the_prediction_of_another(kept):
    kept.keep(ME, "a", MADE)
    with pytest.raises(NotFound, match="'a'") as raised:
        await kept.take(YOU, "a")
    assert "prediction_not_found" == raised.value.code


async def test_an_expired_one_is_gone(kept, clock):
    kept.keep(ME, "a", MADE)
    clock.advance(60)
    with pytest.raises(Gone) as raised:
        await kept.take(ME, "a")
    assert "prediction_gone" == raised.value.code


async def test_the_oldest_are_evicted_over_the_limit(kept):
    for name in "abcd":
        kept.keep(ME, name, MADE)
    with pytest.raises(Gone):
        await kept.take(ME, "a")
    assert MADE is await kept.take(ME, "b")


async def test_an_id_used_again_stands_for_the_later_prediction(kept):
    later = MADE._replace(key="later")
    kept.keep(ME, "a", MADE)
    await kept.take(ME, "a")
    kept.keep(ME, "a", later)
    assert later is await kept.take(ME, "a")


async def test_memory_is_freed(kept, clock):
    for i in range(50):
        kept.keep(ME, f"{i % 5}", MADE)
        if i % 3 == 0:
            await kept.take(ME, f"{i % 5}")
        clock.advance(7)
    clock.advance(60)
    with pytest.raises(NotFound):
        await kept.take(ME, "never")
    assert 0 == kept.nbytes
    assert kept.tombstones <= TOMBSTONES
