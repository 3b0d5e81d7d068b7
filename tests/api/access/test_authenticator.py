"""Who may call, over HTTP: roles, people, API keys, and the sessions that belong to them."""

from __future__ import annotations

import logging

import pytest

from tests.support.fakes import TOKENS, unit_vectors

A, B = "key-of-a-key-of-a", "key-of-b-key-of-b"
KEYS = {"keys": [{"name": "a", "key": A}, {"name": "b", "key": B}]}
ADMIN = {
    **{f"{role}_token": token for role, token in TOKENS.items()},
    "tokens": [{"name": "alice", "role": "approver", "token": "alices-own-secret"}],
}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def body(count=1, **more):
    return {"vectors": unit_vectors(count).tolist(), **more}


@pytest.fixture
async def keyed(start):
    async with start(callers=KEYS, admin=ADMIN) as begun:
        yield begun


async def test_the_audit_log_names_the_person(keyed):
    headers = bearer("alices-own-secret")
    answer = await keyed.client.post(
        "/admin/v1/rollout", json={"canary": "phase-3"}, headers=headers
    )
    assert answer.status_code == 202, answer.text
    rows = (await keyed.admin("GET", "/history")).json()
    assert {"alice"} <= {row["actor"] for row in rows}
    assert (await keyed.client.get("/admin/v1/rollout", headers=headers)).headers[
        "X-Role"
    ] == "approver"


async def test_the_tokens_of_roles_go_on_under_the_names_of_their_roles(keyed):
    await keyed.admin("POST", json={"canary": "phase-3"}, role="operator")
    rows = (await keyed.admin("GET", "/history")).json()
    assert "operator" in {row["actor"] for row in rows}


@pytest.mark.parametrize("token", ["wrong-wrong-wrong", A, "x" * 10_000])
async def test_a_wrong_token_is_logged_and_counted_but_never_shown(keyed, caplog, token):
    caplog.set_level(logging.WARNING)
    headers = {**bearer(token), "X-Request-Id": "seen-in-the-log"}
    answer = await keyed.client.get("/admin/v1/rollout", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "failed log-in (admin, unknown token) from 127.0.0.1" in caplog.text
    assert "seen-in-the-log" in caplog.text
    assert token not in caplog.text + answer.text
    assert await keyed.metric("nextvec_failed_logins_total", surface="admin", reason="unknown") == 1


async def test_a_good_token_is_never_slowed_down_by_failures_of_its_address(keyed):
    delays = []

    async def sleep(seconds):
        delays.append(seconds)

    keyed.app.state.services.authenticator._failures._sleep = sleep
    for _ in range(20):
        await keyed.client.get("/admin/v1/rollout", headers=bearer("wrong-wrong-wrong"))
    assert delays
    delays.clear()
    assert (await keyed.admin("GET", role="viewer")).status_code == 200
    assert delays == []


PREDICTIONS = [
    ("POST", "/v1/predict"),
    ("POST", "/v1/steps"),
    ("POST", "/v1/sessions/s/vectors"),
    ("GET", "/v1/sessions/s"),
    ("DELETE", "/v1/sessions/s"),
    ("POST", "/v1/feedback"),
    ("POST", "/v2/models/next-vector/infer"),
    ("POST", "/v2/models/next-vector/versions/phase-2/infer"),
    ("GET", "/v2"),
    ("GET", "/v2/models"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/models/next-vector"),
    ("GET", "/v2/models/next-vector/config"),
    ("GET", "/v2/models/next-vector/stats"),
    ("GET", "/v2/models/next-vector/versions/phase-2/stats"),
]


@pytest.mark.parametrize(("method", "path"), PREDICTIONS)
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, bearer(TOKENS["approver"])])
async def test_with_keys_every_prediction_route_needs_one(keyed, method, path, headers):
    answer = await keyed.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/next-vector/ready",
        "/metrics",
        "/",
        "/console",
        "/docs",
    ],
)
async def test_health_metrics_and_pages_need_no_key(keyed, path):
    assert (await keyed.client.get(path)).status_code == 200


async def test_no_route_was_forgotten(keyed):
    """Each route is in the list above, needs a role, or is open on purpose."""
    open_on_purpose = ("/v2/health", "/metrics", "/console", "/docs", "/openapi", "/redoc")
    listed = {
        path.replace("/s/", "/{session_id}/")
        .replace("sessions/s", "sessions/{session_id}")
        .replace("next-vector", "{model}")
        .replace("phase-2", "{version}")
        for _, path in PREDICTIONS
    }
    for path in keyed.app.openapi()["paths"]:
        if path.startswith(("/admin/", "/v2/repository", *open_on_purpose)):
            continue
        if path == "/" or path.endswith("/ready"):
            continue
        known = path.replace("/versions/{version}/config", "/config").replace(
            "/models/{model}/versions/{version}", "/models/{model}"
        )
        assert path in listed or known in listed, path
        for method in keyed.app.openapi()["paths"][path]:
            url = path.format(session_id="s", model="next-vector", version="phase-2")
            assert (await keyed.client.request(method.upper(), url)).status_code == 401, path


async def test_the_body_of_a_caller_without_a_key_is_not_read(keyed):
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b" " * 1000

    for path in ("/v1/predict", "/v1/sessions/s/vectors", "/v1/steps", "/v1/feedback"):
        answer = await keyed.client.post(path, content=endless())
        assert answer.status_code == 401
    assert read == 0


@pytest.mark.parametrize("headers", [{"X-API-Key": A}, bearer(A)])
async def test_a_key_admits(keyed, headers):
    answer = await keyed.client.post("/v1/sessions/s/vectors", json=body(), headers=headers)
    assert answer.status_code == 200


async def test_a_session_belongs_to_the_key_that_began_it(keyed):
    async def call(key, method, path, **options):
        headers = {"X-API-Key": key}
        return await keyed.client.request(method, path, headers=headers, **options)

    path = "/v1/sessions/s"
    infer = {
        "inputs": [
            {
                "name": "vectors",
                "shape": [1, 4],
                "datatype": "FP32",
                "data": unit_vectors(1).ravel().tolist(),
            }
        ]
    }
    assert (await call(A, "POST", f"{path}/vectors", json=body())).status_code == 200
    others = [
        await call(B, "POST", f"{path}/vectors", json=body()),
        await call(B, "POST", f"{path}/vectors", json=body(position=0)),
        await call(B, "POST", f"{path}/vectors", json=body(position=1)),
        await call(B, "GET", path),
        await call(B, "DELETE", path),
    ]
    for start, end in ((True, False), (False, False), (True, True), (False, True)):
        parameters = {"sequence_id": "s", "sequence_start": start, "sequence_end": end}
        others.append(
            await call(
                B, "POST", "/v2/models/next-vector/infer", json={**infer, "parameters": parameters}
            )
        )
    for answer in others:
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    steps = await call(
        B, "POST", "/v1/steps", json={"steps": [{"session": "s", **_one_step(keyed)}]}
    )
    assert "next_vector" not in steps.text
    assert (await call(A, "GET", path)).json()["length"] == 1
    assert (await call(A, "DELETE", path)).status_code == 204
    assert (await call(B, "POST", f"{path}/vectors", json=body())).status_code == 200


def _one_step(_service):
    return {"vector": unit_vectors(1)[0].tolist()}


async def test_an_evicted_session_is_gone_for_its_owner_and_unknown_to_others(start):
    async with start(callers=KEYS, sessions={"ttl_seconds": 5}) as service:
        post = service.client.post
        await post("/v1/sessions/s/vectors", json=body(), headers={"X-API-Key": A})
        service.clock.advance(6)
        get = service.client.get
        assert (await get("/v1/sessions/s", headers={"X-API-Key": A})).status_code == 410
        assert (await get("/v1/sessions/s", headers={"X-API-Key": B})).status_code == 404


async def test_a_key_has_its_own_number_of_sessions(start):
    keys = {"keys": [{"name": "a", "key": A, "max_sessions": 2}, {"name": "b", "key": B}]}
    async with start(callers=keys, sessions={"ttl_seconds": 5}) as service:

        async def begin(name, key=A):
            return await service.client.post(
                f"/v1/sessions/{name}/vectors", json=body(), headers={"X-API-Key": key}
            )

        assert [200, 200] == [(await begin(name)).status_code for name in "12"]
        refused = await begin("3")
        assert (refused.status_code, refused.json()["code"]) == (429, "caller_limited")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await begin("1")).status_code == 200
        assert (await begin("3", B)).status_code == 200
        await service.client.delete("/v1/sessions/1", headers={"X-API-Key": A})
        assert (await begin("4")).status_code == 200
        assert (await begin("5")).status_code == 429
        service.clock.advance(6)
        assert [200, 200, 429] == [(await begin(name)).status_code for name in "678"]
        assert (
            await service.metric("nextvec_caller_limited_total", caller="a", limit="sessions") == 3
        )


async def test_a_key_has_its_own_memory_for_sessions(start):
    keys = {"keys": [{"name": "a", "key": A, "max_session_bytes": 3000}]}
    async with start(callers=keys) as service:
        found = [
            (
                await service.client.post(
                    f"/v1/sessions/{name}/vectors", json=body(), headers={"X-API-Key": A}
                )
            ).status_code
            for name in "123"
        ]
        assert found == [200, 200, 429]


async def test_a_failed_first_append_gives_its_session_back(start):
    keys = {"keys": [{"name": "a", "key": A, "max_sessions": 1}]}
    async with start(callers=keys) as service:
        headers = {"X-API-Key": A}
        service.engines["phase-2"].faults.append(RuntimeError("broken"))
        answer = await service.client.post("/v1/sessions/1/vectors", json=body(), headers=headers)
        assert answer.status_code == 500
        answer = await service.client.post("/v1/sessions/2/vectors", json=body(), headers=headers)
        assert answer.status_code == 200


async def test_requests_of_a_key_are_limited(start):
    keys = {"keys": [{"name": "a", "key": A, "requests_per_second": 2}, {"name": "b", "key": B}]}
    async with start(callers=keys) as service:

        async def predict(key):
            return await service.client.post(
                "/v1/predict",
                json={"context": unit_vectors(2).tolist()},
                headers={"X-API-Key": key},
            )

        assert [200, 200, 429] == [(await predict(A)).status_code for _ in range(3)]
        assert (await predict(B)).status_code == 200
        service.clock.advance(1)
        assert (await predict(A)).status_code == 200


async def test_a_label_is_of_the_key_that_asked_for_the_prediction(keyed):
    headers = {"X-API-Key": A, "X-Request-Id": "r-1"}
    await keyed.client.post(
        "/v1/predict", json={"context": unit_vectors(2).tolist()}, headers=headers
    )
    label = {"request_id": "r-1", "vector": unit_vectors(1)[0].tolist()}
    other = await keyed.client.post("/v1/feedback", json=label, headers={"X-API-Key": B})
    assert other.status_code == 404
    own = await keyed.client.post("/v1/feedback", json=label, headers=bearer(A))
    assert (own.status_code, own.json()["counted"]) == (202, True)


async def test_without_keys_everybody_may_ask_and_share_sessions(service):
    for headers in ({}, {"X-API-Key": "any"}, bearer("other")):
        answer = await service.client.post("/v1/sessions/s/vectors", json=body(), headers=headers)
        assert answer.status_code == 200


async def test_request_ids_do_not_repeat_a_generator(service):
    """Ids that the service makes come from the operating system."""
    first = (await service.client.get("/v2/health/live")).headers["X-Request-Id"]
    second = (await service.client.get("/v2/health/live")).headers["X-Request-Id"]
    assert len(first) == len(second) == 32
    assert first != second
