"""A whole context sent again: the same prediction, at the cost of the new vectors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.fakes import DIM, FakeEngine, unit_vectors

ENGINE = {"prefill_chunk": 3}


async def predict(service, context, **headers):
    answer = await service.client.post(
        "/v1/predict",
        content=context.tobytes(),
        headers={"Content-Type": "application/octet-stream", **headers},
    )
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["next_vector"], np.float32)


def ran(service):
    """Vectors of each run of stable's engine since the last look."""
    batches, service.engines["phase-2"].batches = service.engines["phase-2"].batches, []
    return [length for batch in batches for length in batch]


async def test_a_context_with_one_more_vector_is_one_step(start):
    """Up to the window. The prediction always equals the recomputed one."""
    vectors = unit_vectors(8)
    async with start(engine=ENGINE) as service:
        ran(service)
        await predict(service, vectors[:5])
        assert [3, 2] == ran(service)
        for count in (6, 7, 8):
            got = await predict(service, vectors[:count])
            np.testing.assert_allclose(FakeEngine().expected(vectors[:count]), got, atol=1e-5)
            assert [1] == ran(service)
        hits, misses = [
            await service.metric("nextvec_prefix_cache_vectors_total", result=result)
            for result in ("hit", "miss")
        ]
    assert (5 + 6 + 7, 5 + 3) == (hits, misses)


async def test_the_same_context_again_runs_from_its_last_block(start):
    """At least one vector runs, so a repeated request still measures the speed of the version."""
    vectors = unit_vectors(8)
    async with start(engine=ENGINE) as service:
        first = await predict(service, vectors)
        ran(service)
        np.testing.assert_allclose(first, await predict(service, vectors), atol=1e-5)
        assert [2] == ran(service)


async def test_both_protocols_share_the_prefix_cache(start):
    """A context of `/v1` is known to `/v2`."""
    vectors = unit_vectors(8)
    tensor = {"name": "vectors", "shape": [1, 8, DIM], "datatype": "FP32"}
    content = {"inputs": [{**tensor, "data": vectors.ravel().tolist()}]}
    async with start(engine=ENGINE) as service:
        first = await predict(service, vectors[:7])
        ran(service)
        answer = await service.client.post("/v2/models/next-vector/infer", json=content)
        assert [1] == ran(service)
        got = np.array(answer.json()["outputs"][0]["data"], np.float32)
    np.testing.assert_allclose(FakeEngine().expected(vectors), got, atol=1e-5)
    assert not np.allclose(first, got)


@pytest.mark.slow
async def test_past_the_window_the_beginning_has_changed_and_nothing_is_known(start):
    """The window has moved: the last eight vectors are a new context and are recomputed."""
    vectors = unit_vectors(9)
    async with start(engine=ENGINE) as service:
        await predict(service, vectors[:8])
        ran(service)
        got = await predict(service, vectors)
        assert [3, 3, 2] == ran(service)
    np.testing.assert_allclose(FakeEngine().expected(vectors[1:]), got, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({}, {}, True),
        ({"Authorization": "Bearer a"}, {"Authorization": "Bearer a"}, True),
        ({"Authorization": "Bearer a"}, {"Authorization": "Bearer b"}, False),
        ({"X-API-Key": "a"}, {"X-API-Key": "b"}, False),
        ({"X-API-Key": "a"}, {}, False),
        ({"X-API-Key": "a"}, {"Authorization": "a"}, False),
    ],
)
async def test_only_the_same_credentials_share(start, one, other, shared):
    """Otherwise response times would reveal what another caller has sent."""
    vectors = unit_vectors(8)
    async with start(engine=ENGINE) as service:
        await predict(service, vectors[:7], **one)
        ran(service)
        await predict(service, vectors, **other)
        assert ([1] if shared else [3, 3, 2]) == ran(service)


async def test_it_can_be_turned_off(start):
    async with start(engine=ENGINE, prefix_cache={"max_bytes": 0}) as service:
        for _ in range(2):
            ran(service)
            await predict(service, unit_vectors(8))
            assert [3, 3, 2] == ran(service)


async def test_a_state_with_nan_is_not_cached(start):
    """The next caller starts from a cold state."""
    vectors = unit_vectors(8)
    async with start(engine=ENGINE) as service:
        service.engines["phase-2"].poison = True
        answer = await service.client.post(
            "/v1/predict",
            content=vectors[:7].tobytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 500
        service.engines["phase-2"].poison = False
        ran(service)
        got = await predict(service, vectors)
        assert [3, 3, 2] == ran(service)
    np.testing.assert_allclose(FakeEngine().expected(vectors), got, atol=1e-5)
