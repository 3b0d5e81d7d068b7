"""`/v1/steps`: rows of many sessions in one request, each answered by itself."""

from __future__ import annotations

import numpy as np
import pytest

from service.api.codecs.steps import REQUEST_ROW, RESPONSE_ROW
from tests.support.fakes import FakeEngine, fault, unit_vectors

DIM = FakeEngine.dimensions.dim


async def advance(service, *rows):
    body = {
        "steps": [{**row, "vector": np.asarray(row["vector"], object).tolist()} for row in rows]
    }
    return await service.client.post("/v1/steps", json=body)


def frame(*rows):
    head = np.zeros(len(rows), REQUEST_ROW)
    for number, (session, position, _) in enumerate(rows):
        head[number] = (session, position)
    vectors = np.array([vector for *_, vector in rows], "<f4")
    return b"NVS1" + len(rows).to_bytes(4, "little") + head.tobytes() + vectors.tobytes()


async def advance_binary(service, content, accept="application/octet-stream"):
    headers = {"Content-Type": "application/octet-stream", "Accept": accept}
    return await service.client.post("/v1/steps", content=content, headers=headers)


async def test_every_session_advances_by_its_own_vector(service):
    """The answers are those that each session would have had in a request of its own."""
    vectors = unit_vectors(6)
    for time in range(3):
        answer = await advance(
            service,
            *[
                {"session": name, "vector": vectors[3 * row + time], "position": time}
                for row, name in enumerate("ab")
            ],
        )
        assert 200 == answer.status_code, answer.text
        results = answer.json()["results"]
        for row, name in enumerate("ab"):
            expected = FakeEngine().expected(vectors[3 * row : 3 * row + time + 1])
            np.testing.assert_allclose(expected, results[row]["next_vector"], atol=1e-5)
            assert (name, 200, time + 1) == (
                results[row]["session"],
                results[row]["status"],
                results[row]["length"],
            )
            assert {"variant": "stable", "version": "phase-2"}.items() <= results[row].items()


async def test_a_frame_is_answered_by_a_frame(service):
    """The same rows as JSON and as a frame: the same predictions, to the bit."""
    vectors = unit_vectors(4)
    rows = [("a", 0, vectors[0]), ("b", -1, vectors[1]), ("late", 7, vectors[2])]
    answer = await advance_binary(service, frame(*rows))
    assert 200 == answer.status_code, answer.text
    content = answer.content
    assert (b"NVR1", 3) == (content[:4], int.from_bytes(content[4:8], "little"))
    results = np.frombuffer(content, RESPONSE_ROW, 3, 8)
    predicted = np.frombuffer(content, "<f4", offset=8 + 3 * RESPONSE_ROW.itemsize).reshape(3, -1)
    assert [(200, 1), (200, 1), (404, -1)] == [(r["status"], r["length"]) for r in results]
    assert not predicted[2].any()
    again = await advance(service, {"session": "a", "vector": vectors[0], "position": 0})
    np.testing.assert_array_equal(
        predicted[0], np.array(again.json()["results"][0]["next_vector"], np.float32)
    )


async def test_a_row_that_fails_leaves_the_others_alone(service):
    """A stale position, an unknown session and a vector that is none fail by themselves."""
    vectors = unit_vectors(3)
    await advance(service, {"session": "old", "vector": vectors[0]})
    answer = await advance(
        service,
        {"session": "old", "vector": vectors[1], "position": 5},
        {"session": "new", "vector": vectors[1], "position": 0},
        {"session": "unknown", "vector": vectors[1], "position": 3},
        {"session": "no such id", "vector": vectors[1]},
        {"session": "short", "vector": vectors[1][:-1]},
        {"session": "nan", "vector": [None, *vectors[1][1:].tolist()]},
        {"session": "odd", "vector": vectors[1], "positon": 0},
    )
    assert 200 == answer.status_code, answer.text
    results = answer.json()["results"]
    assert [409, 200, 404, 422, 422, 422, 422] == [result["status"] for result in results]
    assert ("position_mismatch", 1) == (results[0]["code"], results[0]["position"])
    assert "positon" in results[6]["error"]


async def test_rows_of_one_session_run_in_their_order(service):
    """The second row of a session sees the first."""
    vectors = unit_vectors(3)
    answer = await advance(
        service,
        *[
            {"session": "s", "vector": vector, "position": number}
            for number, vector in enumerate(vectors)
        ],
    )
    assert [1, 2, 3] == [result["length"] for result in answer.json()["results"]]
    expected = FakeEngine().expected(vectors)
    np.testing.assert_allclose(expected, answer.json()["results"][2]["next_vector"], atol=1e-5)


async def test_a_repeated_request_is_answered_again(service):
    """Positions make a retry of the whole request safe."""
    vectors = unit_vectors(2)
    rows = [
        {"session": name, "vector": vector, "position": 0}
        for name, vector in zip("ab", vectors, strict=True)
    ]
    first, again = [await advance(service, *rows) for _ in range(2)]
    assert first.json() == again.json()


async def test_a_thousand_rows_fit(service):
    """More rows than the queue holds wait for each other instead of being refused."""
    vectors = unit_vectors(8)
    rows = [(f"s{number}", 0, vectors[number % 8]) for number in range(1000)]
    answer = await advance_binary(service, frame(*rows))
    results = np.frombuffer(answer.content, RESPONSE_ROW, 1000, 8)
    assert {200} == set(results["status"].tolist())


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "NVS1"),
        (b"NVS1", 400, "NVS1"),
        (b"NVS2" + bytes(4), 400, "NVS1"),
        (b"NVS1" + bytes(4), 422, "0 rows"),
        (b"NVS1" + b"\xff" * 4, 422, "4294967295 rows"),
        (frame(("a", 0, unit_vectors(1)[0]))[:-1], 400, "not a frame of 1 rows"),
        (frame(("a", 0, unit_vectors(1)[0])) + b"\0", 400, "not a frame of 1 rows"),
    ],
)
async def test_a_frame_that_is_cut_short_changes_nothing(service, content, status, message):
    """The frame says how long it is; another length is refused as a whole."""
    answer = await advance_binary(service, content)
    assert status == answer.status_code
    assert message in answer.json()["error"]
    assert 404 == (await service.client.get("/v1/sessions/a")).status_code


@pytest.mark.parametrize(("position", "session"), [(-2, "a"), (0, "Grüße"), (0, ""), (0, "a b")])
async def test_a_row_of_a_frame_is_checked_by_itself(service, position, session):
    """What is wrong in one row is that row's 422."""
    vector = unit_vectors(1)[0]
    rows = [(session.encode("latin-1"), position, vector), (b"good", 0, vector)]
    answer = await advance_binary(service, frame(*rows))
    results = np.frombuffer(answer.content, RESPONSE_ROW, 2, 8)
    assert [422, 200] == results["status"].tolist()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "not an object with 'steps'"),
        ({"steps": []}, "0 rows"),
        ({"steps": {}}, "not a list"),
        ({"steps": [{}], "positon": 0}, "no field 'positon'"),
    ],
)
async def test_a_body_that_is_no_list_of_steps_is_refused(service, body, message):
    """422, and no row runs."""
    answer = await service.client.post("/v1/steps", json=body)
    assert (422, True) == (answer.status_code, message in answer.json()["error"])


async def test_a_misspelt_field_of_a_row_is_named_with_the_nearest(service):
    row = {"session": "s", "vector": unit_vectors(1)[0].tolist(), "positon": 0}
    answer = await service.client.post("/v1/steps", json={"steps": [row]})
    (result,) = answer.json()["results"]
    assert (result["status"], result["code"]) == (422, "invalid")
    assert "there is no field 'positon'; did you mean 'position'?" in result["error"]


async def test_an_engine_fault_is_the_rows_own_500(service):
    """The request is answered, and the session is as it was."""
    vectors = unit_vectors(2)
    await advance(service, {"session": "s", "vector": vectors[0], "position": 0})
    service.engines["phase-2"].faults.append(fault())
    answer = await advance(service, {"session": "s", "vector": vectors[1], "position": 1})
    assert (200, 500) == (answer.status_code, answer.json()["results"][0]["status"])
    answer = await advance(service, {"session": "s", "vector": vectors[1], "position": 1})
    assert 2 == answer.json()["results"][0]["length"]
