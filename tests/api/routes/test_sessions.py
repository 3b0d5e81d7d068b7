"""`/v1/sessions` over HTTP: a kept state gives the prediction of a recomputed context."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest

from service.contexts.window import starts
from tests.support.fakes import FakeEngine, fault, put_version, unit_vectors


async def append(service, vectors, session="s", **query):
    return await service.client.post(
        f"/v1/sessions/{session}/vectors",
        params=query,
        content=np.asarray(vectors, "<f4").tobytes(),
        headers={"Content-Type": "application/octet-stream"},
    )


def next_vector(answer):
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["next_vector"], np.float32)


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 1, 1], [8, 1], [3, 9, 2], [20, 1]])
async def test_a_session_predicts_as_its_recomputed_window(service, pieces):
    """Within the window and past it, for vectors sent in any pieces."""
    vectors = unit_vectors(sum(pieces))
    position = 0
    for size in pieces:
        answer = await append(service, vectors[position : position + size], position=position)
        position += size
        expected = FakeEngine().expected(vectors[:position][-8:])
        np.testing.assert_allclose(expected, next_vector(answer), atol=1e-5)
        assert answer.json()["length"] == position


@pytest.mark.slow
async def test_a_compact_history_is_exact_within_the_window_and_near_past_it(start):
    """Vectors are kept in 8 bits by default, so recomputed predictions differ slightly."""
    vectors = unit_vectors(20)
    async with start(sessions={}) as service:
        for number in range(20):
            answer = await append(service, vectors[number : number + 1], position=number)
            expected = FakeEngine().expected(vectors[max(0, number - 7) : number + 1])
            apart = 1e-5 if number < 8 else 0.05
            np.testing.assert_allclose(expected, next_vector(answer), atol=apart)


async def test_a_repeated_append_returns_the_stored_prediction(service):
    """Nothing changes. A caller cannot know whether its first attempt arrived."""
    vectors = unit_vectors(4)
    first = await append(service, vectors[:3], position=0)
    again = await append(service, vectors[:3], position=0)
    np.testing.assert_array_equal(next_vector(first), next_vector(again))
    assert again.json()["length"] == 3
    answer = await append(service, vectors[3:], position=3)
    expected = FakeEngine().expected(vectors)
    np.testing.assert_allclose(expected, next_vector(answer), atol=1e-5)


@pytest.mark.parametrize("position", [0, 2, 4, 99])
async def test_another_position_is_a_conflict_with_the_true_position(service, position):
    """Also position 0, unless the vectors repeat the last append."""
    await append(service, unit_vectors(3), position=0)
    answer = await append(service, unit_vectors(3, seed=9), position=position)
    assert (answer.status_code, answer.json()["code"]) == (409, "position_mismatch")
    assert answer.json()["position"] == 3


async def test_a_failed_append_leaves_the_session_as_it_was(service):
    """The same append succeeds afterwards."""
    vectors = unit_vectors(4)
    await append(service, vectors[:3], position=0)
    service.engines["phase-2"].faults.append(fault())
    failed = await append(service, vectors[3:], position=3)
    assert failed.status_code == 500
    answer = await append(service, vectors[3:], position=3)
    expected = FakeEngine().expected(vectors)
    np.testing.assert_allclose(expected, next_vector(answer), atol=1e-5)


async def test_concurrent_appends_run_in_order(service):
    """Without positions in order of arrival. With equal positions all but one conflict."""
    answers = await asyncio.gather(*(append(service, unit_vectors(1, i)) for i in range(5)))
    assert sorted(answer.json()["length"] for answer in answers) == [1, 2, 3, 4, 5]
    answers = await asyncio.gather(
        *(append(service, unit_vectors(1, 10 + i), position=5) for i in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_appends_of_several_vectors_at_once_are_never_interleaved(start):
    """The engine runs contexts in chunks; each append's vectors stay together."""
    first, second, last = unit_vectors(6, 1), unit_vectors(6, 2), unit_vectors(1, 3)
    async with start(engine={"prefill_chunk": 2}, stable="phase-3") as service:
        answers = await asyncio.gather(append(service, first), append(service, second))
        assert [6, 12] == [answer.json()["length"] for answer in answers]
        answer = await append(service, last, position=12)
        expected = FakeEngine(0.9).expected(np.concatenate([first, second, last]))
        np.testing.assert_allclose(expected, next_vector(answer), atol=1e-5)


async def test_an_evicted_session_is_gone_until_primed_again(start):
    """An expired or evicted session gives 410 until position 0 is sent. The 410 does not count
    as an error of the version, which would be evidence against a canary."""
    async with start(sessions={"max_bytes": 2500}) as service:
        for session in ("a", "b"):
            await append(service, unit_vectors(1), session=session)
        answer = await append(service, unit_vectors(1), session="a", position=1)
        assert (410, "session_gone") == (answer.status_code, answer.json()["code"])
        again = await append(service, unit_vectors(2), session="a", position=0)
        assert (200, 2) == (again.status_code, again.json()["length"])
        name, labels = "nextvec_requests_total", {"variant": "stable"}
        counted = [
            await service.metric(name, **labels, mode="step", outcome=outcome)
            for outcome in ("invalid", "error")
        ]
    assert [1, 0] == counted


async def test_a_routing_key_is_bounded(service):
    """Each prediction that waits for its label keeps one."""
    body = {"vectors": unit_vectors(1).tolist()}
    answers = [
        await service.client.post("/v1/sessions/s/vectors", json={**body, "key": "k" * length})
        for length in (1024, 1025)
    ]
    assert [200, 422] == [answer.status_code for answer in answers]


async def test_a_session_can_be_read_and_deleted(service):
    """A deleted session is not found, rather than gone."""
    await append(service, unit_vectors(3))
    found = (await service.client.get("/v1/sessions/s")).json()
    assert (found["length"], found["variant"], found["version"]) == (3, "stable", "phase-2")
    assert (await service.client.delete("/v1/sessions/s")).status_code == 204
    for method in ("GET", "DELETE"):
        answer = await service.client.request(method, "/v1/sessions/s")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")


async def test_an_expired_session_is_gone_until_primed_again(service):
    """The response is 410; an append at position 0 then starts the session again."""
    await append(service, unit_vectors(3), position=0)
    service.clock.advance(10**6)
    answer = await append(service, unit_vectors(1), position=3)
    assert (answer.status_code, answer.json()["code"]) == (410, "session_gone")
    primed = await append(service, unit_vectors(4), position=0)
    expected = FakeEngine().expected(unit_vectors(4))
    np.testing.assert_allclose(expected, next_vector(primed), atol=1e-5)


async def test_an_unknown_session_with_a_position_is_not_found(service):
    """Its caller expects a context that does not exist."""
    answer = await append(service, unit_vectors(1), position=7)
    assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("name", ["a b", "x" * 129, "é"])
async def test_a_name_outside_the_allowed_letters_is_invalid(service, name):
    answer = await append(service, unit_vectors(1), session=name)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_session_moves_to_another_version_with_its_context(service):
    """The new version is primed from the kept vectors. The caller does not notice."""
    vectors = unit_vectors(12)
    await append(service, vectors[:11], position=0)
    answer = await service.client.post(
        "/v1/sessions/s/vectors",
        params={"position": 11},
        content=vectors[11:].tobytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.headers["x-model-version"] == "phase-2"
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    more = unit_vectors(1, seed=5)
    moved = await service.client.post(
        "/v1/sessions/s/vectors",
        params={"position": 12},
        content=more.tobytes(),
        headers={"Content-Type": "application/octet-stream", "X-Variant": "canary"},
    )
    assert moved.headers["x-model-version"] == "phase-3"
    expected = FakeEngine(0.9).expected(np.concatenate([vectors, more]))
    np.testing.assert_allclose(expected, next_vector(moved), atol=1e-5)


async def test_a_session_that_moved_moves_back_after_an_abort(service):
    """Stable gets the vectors that the canary read. Positions continue."""
    vectors = unit_vectors(6)
    await append(service, vectors[:3], position=0)
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    service.client.headers["X-Variant"] = "canary"
    moved = await append(service, vectors[3:5], position=3)
    assert "phase-3" == moved.headers["x-model-version"]
    del service.client.headers["X-Variant"]
    await service.admin("POST", "/abort")
    back = await append(service, vectors[5:], position=5)
    assert ("phase-2", 6) == (back.headers["x-model-version"], back.json()["length"])
    np.testing.assert_allclose(FakeEngine().expected(vectors), next_vector(back), atol=1e-5)


async def test_the_metrics_know_how_many_sessions_there_are(service):
    await append(service, unit_vectors(1), session="a")
    await append(service, unit_vectors(1), session="b")
    assert await service.metric("nextvec_sessions") == 2
    assert await service.metric("nextvec_session_bytes") > 0
    await service.client.delete("/v1/sessions/a")
    assert await service.metric("nextvec_sessions") == 1


async def test_the_deadline_counts_the_wait_behind_earlier_appends(start):
    """All of them end at the same time, not one after the other."""
    async with start(limits={"timeout_seconds": 0.05}) as service:
        engine = service.engines["phase-2"]
        engine.gate.clear()
        answers = await asyncio.gather(*(append(service, unit_vectors(1, i)) for i in range(5)))
        engine.gate.set()
        timeouts = await service.metric(
            "nextvec_requests_total",
            variant="stable",
            version="phase-2",
            mode="step",
            outcome="timeout",
        )
    assert [answer.status_code for answer in answers] == [504] * 5
    assert timeouts == 5


async def test_too_many_appends_to_one_session_at_once_are_refused(service):
    """They run one at a time, so waiting ones only take memory."""
    engine = service.engines["phase-2"]
    engine.gate.clear()
    tasks = [asyncio.create_task(append(service, unit_vectors(1, i))) for i in range(40)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    engine.gate.set()
    answers = await asyncio.gather(*tasks)
    assert {task.result().status_code for task in done} == {429}
    assert sorted(answer.status_code for answer in answers) == [200] * 32 + [429] * 8


@pytest.mark.parametrize(
    "pieces", [[1] * 30, [5, 1, 1, 1, 9, 1, 1, 1, 1], [20, 1, 1, 20, 1], [3] * 9]
)
async def test_anchored_answers_from_its_anchor_and_recomputes_nothing(start, models, pieces):
    """The anchor is the first multiple of half a window that is at most one window back."""
    shutil.rmtree(models / "next-vector" / "phase-2")
    put_version(models, "phase-2", window=8, policy="anchored")
    vectors = unit_vectors(sum(pieces))
    async with start() as service:
        engine = service.engines["phase-2"]
        position = 0
        for size in pieces:
            engine.batches = []
            answer = await append(service, vectors[position : position + size], position=position)
            position += size
            first = starts("anchored", 8, position)[0]
            expected = FakeEngine().expected(vectors[first:position])
            np.testing.assert_allclose(expected, next_vector(answer), atol=1e-5)
            if size == 1:
                assert sum(sum(batch) for batch in engine.batches) <= 2
