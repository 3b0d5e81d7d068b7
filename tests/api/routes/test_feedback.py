"""`POST /v1/feedback`, and the labels that sessions provide themselves."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.quality import online_scorer as scorer
from service.quality.distractor_pool import DISTRACTORS
from tests.support.fakes import DIM, unit_vectors

BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(autouse=True)
def _scored_at_once(monkeypatch):
    monkeypatch.setattr(scorer, "PAUSE_SECONDS", 0.001)


async def ask(service, request_id, **headers):
    answer = await service.client.post(
        "/v1/predict",
        content=unit_vectors(3).tobytes(),
        headers={**BINARY, "X-Request-Id": request_id, **headers},
    )
    assert answer.status_code == 200
    return np.array(answer.json()["next_vector"], np.float32)


async def label(service, request_id, vector, **headers):
    body = {"request_id": request_id, "vector": [float(x) for x in vector]}
    return await service.client.post("/v1/feedback", json=body, headers=headers)


async def scored(service, count, variant="stable"):
    """Wait until `count` predictions have been scored."""
    name = "nextvec_online_cosine_count"
    async with asyncio.timeout(10):
        while await service.metric(name, variant=variant) != count:
            await asyncio.sleep(0.001)


async def test_a_label_is_scored(service):
    """The label equals the prediction, so its cosine is 1."""
    vector = await ask(service, "call-1")
    answer = await label(service, "call-1", 3 * vector)
    assert (202, {"request_id": "call-1", "counted": True}) == (answer.status_code, answer.json())
    await scored(service, 1)
    assert await service.metric("nextvec_online_cosine_sum", variant="stable") == pytest.approx(1)
    assert await service.metric("nextvec_feedback_total", result="counted") == 1


async def test_a_label_in_raw_float32(service):
    """The query contains the request id."""
    vector = await ask(service, "call-1")
    answer = await service.client.post(
        "/v1/feedback?request_id=call-1", content=vector.tobytes(), headers=BINARY
    )
    assert (202, True) == (answer.status_code, answer.json()["counted"])


async def test_a_label_counts_once(service):
    """However often it is sent."""
    vector = await ask(service, "call-1")
    said = [(await label(service, "call-1", vector)).json()["counted"] for _ in range(3)]
    assert [True, False, False] == said
    await scored(service, 1)
    assert await service.metric("nextvec_feedback_total", result="repeated") == 2


async def test_an_id_that_was_made_up_is_not_found(service):
    answer = await label(service, "nobody", unit_vectors(1)[0])
    assert (404, "prediction_not_found") == (answer.status_code, answer.json()["code"])
    result = "prediction_not_found"
    assert await service.metric("nextvec_feedback_total", result=result) == 1


async def test_another_caller_cannot_label_it(service):
    """Callers are identified by their credentials."""
    vector = await ask(service, "call-1", Authorization="Bearer mine")
    assert 404 == (await label(service, "call-1", vector)).status_code
    mine = await label(service, "call-1", vector, Authorization="Bearer mine")
    assert 202 == mine.status_code


async def test_a_label_that_comes_too_late_is_410(start):
    async with start(feedback={"ttl_seconds": 60}) as service:
        vector = await ask(service, "call-1")
        service.clock.advance(60)
        answer = await label(service, "call-1", vector)
    assert (410, "prediction_gone") == (answer.status_code, answer.json()["code"])


async def test_a_prediction_outside_the_split_takes_no_label(service):
    """It is not evidence, because its caller chose the variant."""
    vector = await ask(service, "call-1", **{"X-Variant": "stable"})
    assert 404 == (await label(service, "call-1", vector)).status_code


async def test_it_can_be_turned_off(start):
    async with start(feedback={"max_bytes": 0}) as service:
        vector = await ask(service, "call-1")
        answer = await label(service, "call-1", vector)
    assert 404 == answer.status_code
    assert "feedback.max_bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"request_id": "call-1"}', 422),
        (b'{"vector": [1, 2, 3, 4]}', 422),
        (b'{"request_id": 7, "vector": [1, 2, 3, 4]}', 422),
        (b'{"request_id": "call-1", "vector": "1234"}', 422),
        (b'{"request_id": "call-1", "vector": [1, 2, 3]}', 422),
        (b'{"request_id": "call-1", "vector": [[1, 2, 3, 4]]}', 202),
        (b'{"request_id": "call-1", "vector": [1, 2, 3, "4"]}', 422),
        (b'{"request_id": "call-1", "vector": [0, 0, 0, 0]}', 422),
        (b'{"request_id": "call-1", "vector": [1e39, 0, 0, 0]}', 422),
        (b'{"request_id": "call-1", "vector": [1, 0, 0, 0' + 5000 * b", 0" + b"]}", 422),
    ],
)
async def test_what_is_no_label_is_refused_and_the_prediction_goes_on_waiting(
    service, body, status
):
    vector = await ask(service, "call-1")
    headers = {"Content-Type": "application/json"}
    answer = await service.client.post("/v1/feedback", content=body, headers=headers)
    assert status == answer.status_code, answer.text
    if status != 202:
        assert {"error", "code", "request_id"} <= answer.json().keys()
        assert (await label(service, "call-1", vector)).json()["counted"] is True


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"abc", "application/octet-stream", 400),
        (b"", "application/octet-stream", 422),
        (bytes(8 * DIM), "application/octet-stream", 422),
        (b"a,b", "text/csv", 415),
    ],
)
async def test_raw_bytes_that_are_no_vector_are_refused(service, content, kind, status):
    await ask(service, "call-1")
    answer = await service.client.post(
        "/v1/feedback?request_id=call-1", content=content, headers={"Content-Type": kind}
    )
    assert status == answer.status_code


async def test_a_sessions_next_vector_is_its_label(service):
    """Every prediction of a session except the last has a label."""
    vectors = unit_vectors(6)
    for i, vector in enumerate(vectors):
        for session in ("a", "b"):
            answer = await service.client.post(
                f"/v1/sessions/{session}/vectors?position={i}",
                content=vector.tobytes(),
                headers=BINARY,
            )
            assert answer.status_code == 200
    await scored(service, 10)


async def test_a_repeated_append_is_scored_once(service):
    """A retry contains no new vector."""
    first, second = unit_vectors(2)
    for position, vector in ((0, first), (1, second), (1, second), (1, second)):
        answer = await service.client.post(
            f"/v1/sessions/s/vectors?position={position}",
            content=vector.tobytes(),
            headers=BINARY,
        )
        assert answer.status_code == 200
    await scored(service, 1)


async def test_the_first_of_several_vectors_is_the_label(service):
    """The prediction was for the vector that follows directly."""
    context = unit_vectors(3)
    url = "/v1/sessions/s/vectors"
    answer = await service.client.post(url, content=context.tobytes(), headers=BINARY)
    predicted = np.array(answer.json()["next_vector"], np.float32)
    more = np.stack([predicted, -predicted])
    await service.client.post(url, content=more.tobytes(), headers=BINARY)
    await scored(service, 1)
    assert await service.metric("nextvec_online_cosine_sum", variant="stable") == pytest.approx(1)


@pytest.mark.slow
async def test_with_enough_sessions_hits_are_counted(service):
    """The pool contains other sessions' vectors, so a correct prediction is a hit."""
    for i in range(DISTRACTORS + 5):
        vectors = unit_vectors(2, seed=i)
        for vector in vectors:
            await service.client.post(
                f"/v1/sessions/s{i}/vectors", content=vector.tobytes(), headers=BINARY
            )
        if i % 20 == 0:
            await scored(service, i + 1)
    await scored(service, DISTRACTORS + 5)
    ranked = await service.metric("nextvec_online_predictions_total", variant="stable")
    assert 0 < ranked <= 10


async def test_a_prediction_counts_for_the_variant_that_made_it(service):
    """Even if another variant answers next. The first prediction after a move is no evidence."""

    async def append(vector):
        answer = await service.client.post(
            "/v1/sessions/s/vectors", content=vector.tobytes(), headers=BINARY
        )
        assert answer.status_code == 200
        return answer.headers["x-variant"]

    vectors = unit_vectors(5)
    said = [await append(vectors[0])]
    plan = {"steps": [{"weight": 99.99}], "warm_up_seconds": 0}
    await service.admin("POST", json={"canary": "phase-3", "plan": plan})
    await service.controller.prepared()
    said += [await append(vector) for vector in vectors[1:]]
    assert ["stable", *["canary"] * 4] == said
    await scored(service, 1)  # stable's only prediction, told by the second vector
    await scored(service, 2, variant="canary")  # the third's and the fourth's, told by the next
