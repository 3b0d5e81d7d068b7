"""The client with blocking calls, against a service in memory."""

from __future__ import annotations

import threading

import httpx
import numpy as np
import pytest
import torch

from nextvec import predictions
from nextvec.client import Client
from nextvec.errors import (
    GoneError,
    OverloadError,
    PositionConflictError,
    ServiceError,
    TransportError,
)
from tests.support.client_service import (
    DIM,
    WINDOW,
    FakeTime,
    InMemoryService,
    client_of,
    expected_prediction,
)

ROWS = np.arange(40, dtype=np.float32).reshape(10, DIM) + 1


@pytest.fixture
def service():
    return InMemoryService()


def test_a_prediction_carries_what_the_service_says_of_it(service):
    prediction = client_of(service).predict(ROWS, key="ada")
    np.testing.assert_array_equal(expected_prediction(ROWS), prediction.vector)
    assert ("stable", "phase-2", 20.25) == (
        prediction.variant,
        prediction.version,
        prediction.timing.inference_ms,
    )
    assert "ada" == service.requests[-1].headers["X-Routing-Key"]


def test_a_session_grows_by_arrays_tensors_and_lists(service):
    session = client_of(service).session("a")
    for rows in (ROWS[0], torch.tensor(ROWS[1:3]), ROWS[3:4].tolist()):
        prediction = session.append(rows)
    np.testing.assert_array_equal(expected_prediction(ROWS[:4]), prediction.vector)
    assert (4, 4) == (session.length, prediction.length)
    appends = [r for r in service.requests if r.method == "POST"]
    assert ["0", "1", "3"] == [request.url.params["position"] for request in appends]


def test_a_session_without_an_id_draws_one(service):
    client = client_of(service)
    assert client.session().id != client.session().id


@pytest.mark.parametrize("lose", ["evict", "restart"])
def test_a_lost_session_is_primed_from_the_last_window(service, lose):
    """A predictable amount is sent: a window, not the whole life of the session."""
    session = client_of(service).session("a")
    for row in ROWS[:9]:
        session.append(row)
    service.evict("a") if lose == "evict" else service.restart()
    prediction = session.append(ROWS[9])
    np.testing.assert_array_equal(expected_prediction(ROWS), prediction.vector)
    assert (10, WINDOW) == (session.length, len(service.sessions["a"]))
    np.testing.assert_array_equal(
        expected_prediction([*ROWS, ROWS[0]]), session.append(ROWS[0]).vector
    )


def test_a_session_that_keeps_no_vectors_says_how_to_go_on(service):
    session = client_of(service).session("a", keep_vectors=False)
    session.append(ROWS[:3])
    service.evict("a")
    with pytest.raises(GoneError) as raised:
        session.append(ROWS[3])
    assert "restart(vectors)" in raised.value.__notes__[0]
    np.testing.assert_array_equal(expected_prediction(ROWS[:4]), session.restart(ROWS[:4]).vector)
    assert (4, 4) == (session.length, len(service.sessions["a"]))


@pytest.mark.parametrize("known", [{"history": ROWS[:3]}, {"position": 3}])
def test_a_session_of_an_earlier_run_is_continued(service, known):
    client_of(service).session("a").append(ROWS[:3])
    session = client_of(service).session("a", **known)
    np.testing.assert_array_equal(expected_prediction(ROWS[:4]), session.append(ROWS[3]).vector)


def test_with_its_history_a_session_of_an_earlier_run_survives_a_restart(service):
    session = client_of(service).session("a", history=ROWS[:3])
    np.testing.assert_array_equal(expected_prediction(ROWS[:4]), session.append(ROWS[3]).vector)


def test_a_session_that_exists_is_not_taken_over(service):
    client_of(service).session("a").append(ROWS[:3])
    other = client_of(service).session("a")
    with pytest.raises(PositionConflictError) as raised:
        other.append(ROWS[3])
    assert "position=3" in raised.value.__notes__[0]
    assert (3, 0) == (len(service.sessions["a"]), other.length)


def test_another_writer_is_noticed(service):
    session = client_of(service).session("a")
    session.append(ROWS[:2])
    client_of(service).session("a", position=2).append(ROWS[2])
    with pytest.raises(PositionConflictError) as raised:
        session.append(ROWS[5])
    assert "somebody else" in raised.value.__notes__[0]


def test_a_lost_answer_is_asked_for_again(service):
    """The vector is in the context once, whether or not the first request arrived."""
    session = client_of(service).session("a")
    session.append(ROWS[0])
    service.faults.extend(["lost_answer", "lost_request", "late"])
    prediction = session.append(ROWS[1])
    np.testing.assert_array_equal(expected_prediction(ROWS[:2]), prediction.vector)
    assert 2 == len(service.sessions["a"])


def test_retry_after_is_waited_for(service):
    clock = FakeTime()
    service.faults.extend(["busy", "busy"])
    client_of(service, clock).predict(ROWS)
    assert [1.0, 1.0] == clock.waits


def test_options_of_a_copy_do_not_change_the_client(service):
    client = client_of(service, max_retries=3)
    hasty = client.with_options(max_retries=0, deadline=1)
    service.faults.append("busy")
    with pytest.raises(OverloadError):
        hasty.predict(ROWS)
    service.faults.extend(["busy"] * 3)
    client.predict(ROWS)
    hasty.close()  # does not close the connections of the client
    client.predict(ROWS)


def test_many_sessions_take_a_step_in_one_request(service):
    client = client_of(service)
    sessions = [client.session(f"s{number}") for number in range(5)]
    client.steps(sessions, ROWS[:5])
    service.evict("s1")
    service.sessions["s2"].append(ROWS[9])  # another writer
    results = client.steps(sessions, ROWS[5:])
    frames = [r for r in service.requests if r.url.path == "/v1/steps"]
    assert 2 == len(frames)
    assert isinstance(results[2].error, PositionConflictError)
    for number in (0, 1, 3, 4):
        expected = expected_prediction(ROWS[[number, 5 + number]])
        np.testing.assert_array_equal(expected, results[number].unwrap())
    assert [2, 2, 1, 2, 2] == [session.length for session in sessions]


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [(["a", "a"], 2, "twice"), (["a"], 2, "one vector each")],
)
def test_steps_without_one_vector_for_each_session_are_refused(service, names, rows, message):
    client = client_of(service)
    with pytest.raises(ValueError, match=message):
        client.steps([client.session(name) for name in names], ROWS[:rows])


@pytest.mark.parametrize("options", [{"key": "ada"}, {"variant": "canary"}])
def test_sessions_that_one_request_cannot_carry_are_refused(service, options):
    """A frame has one variant for all, and no routing keys."""
    client = client_of(service)
    with pytest.raises(ValueError, match=r"routing key|override the split"):
        client.steps([client.session("a"), client.session("b", **options)], ROWS[:2])


def test_a_long_context_is_primed_in_pieces(service, monkeypatch):
    """Each is within the service's limit of rows."""
    monkeypatch.setattr(predictions, "ROWS_OF_A_PIECE", 2)
    session = client_of(service).session("a")
    session.append(ROWS[:8])
    service.restart()
    prediction = session.append(ROWS[8:])
    np.testing.assert_array_equal(expected_prediction(ROWS), prediction.vector)
    sizes = [len(r.content) // (4 * DIM) for r in service.requests if r.method == "POST"]
    assert [8, 2, 2, 4] == sizes  # the kept four of a window of six, two of them with the new ones


def test_sessions_ask_for_the_windows_once(service):
    client = client_of(service)
    for name in "abc":
        client.session(name).append(ROWS[0])
    assert 1 == sum(request.url.path == "/v2" for request in service.requests)


def test_no_session_takes_no_step(service):
    assert [] == client_of(service).steps([], np.zeros((0, DIM)))


def test_a_label_counts_once(service):
    client = client_of(service)
    prediction = client.predict(ROWS)
    assert [True, False] == [
        client.feedback(prediction, ROWS[0]),
        client.feedback(prediction.id, ROWS[0]),
    ]


def test_a_session_is_read_and_deleted(service):
    session = client_of(service).session("a")
    session.append(ROWS[:3])
    assert 3 == session.info().length
    session.delete()
    session.delete()
    assert ({}, 0) == (service.sessions, session.length)
    session.append(ROWS[0])


def test_a_readiness_probe_asks_once_and_raises_nothing(service):
    service.faults.append("lost_request")
    assert not client_of(service).is_ready()
    assert 1 == len(service.requests)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "both"}, "variant"),
        ({"key": ""}, "key"),
        ({"key": "a\r\nX-Evil: 1"}, "key"),
    ],
)
def test_routing_that_no_request_can_carry_is_refused(service, options, message):
    with pytest.raises(ValueError, match=message):
        client_of(service).predict(ROWS, **options)
    assert [] == service.requests


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "x" * 129, "a b"])
def test_an_id_that_the_service_refuses_is_not_sent(service, name):
    with pytest.raises(ValueError, match="session id"):
        client_of(service).session(name)


def test_appends_of_several_threads_follow_one_another(service):
    session = client_of(service).session("a")
    threads = [threading.Thread(target=session.append, args=(row,)) for row in ROWS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = sorted(row.tolist() for row in service.sessions["a"])
    assert ROWS.tolist() == held


def test_secrets_go_where_they_belong_and_nowhere_else():
    """The key to the predictions, the token to the admin routes, neither into `repr` or errors."""
    seen = []

    def handle(request):
        seen.append(request.headers)
        return httpx.Response(500, text="no")

    http = httpx.Client(transport=httpx.MockTransport(handle))
    client = Client("http://s", api_key="KEY", token="TOKEN", max_retries=0, http_client=http)
    for call in (lambda: client.predict(ROWS), client.rollout.status):
        with pytest.raises(ServiceError) as raised:
            call()
        assert not {"KEY", "TOKEN"} & set(repr(raised.value).split("'"))
    first, second = seen
    assert ("KEY", None) == (first["x-api-key"], first.get("authorization"))
    assert ("Bearer TOKEN", None) == (second["authorization"], second.get("x-api-key"))
    assert "api_key=<set>, token=<set>" in repr(client)
    assert "KEY" not in repr(vars(client))
    assert "TOKEN" not in repr(vars(client))


def test_a_service_that_is_not_there_is_a_transport_error():
    with Client("http://127.0.0.1:9", max_retries=0) as client, pytest.raises(TransportError):
        client.predict(ROWS)
