"""Misspelt names, and two values that differ, are errors on every route."""

from __future__ import annotations

import pytest

from service.api.parameters import check_headers
from service.errors import Invalid
from tests.support.fakes import DIM, TOKENS, unit_vectors

VECTOR = unit_vectors(1)[0].tolist()
SESSION = "/v1/sessions/s/vectors"
TENSOR = {"name": "vectors", "datatype": "FP32", "shape": [1, DIM], "data": VECTOR}
INFER = "/v2/models/next-vector/infer"
LOAD = "/v2/repository/models/next-vector/load"


async def test_every_route_refuses_an_unknown_query_parameter(service):
    """With the right role, and before anything is done."""
    headers = {"Authorization": "Bearer " + TOKENS["approver"]}
    checked = 0
    for template, verbs in {**service.app.openapi()["paths"], "/console": {"get": {}}}.items():
        path = template.format(model="next-vector", version="phase-2", session_id="s")
        for method in verbs:
            answer = await service.client.request(
                method, f"{path}?no_such_parameter=1", headers=headers
            )
            assert answer.status_code == 422, (method, path, answer.text)
            assert answer.json()["code"] == "unknown_parameter", (method, path, answer.text)
            checked += 1
    assert checked > 25
    assert service.controller.generation == 0


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("?dryrun=All", "dryRun"),
        ("/abort?dry_run=All", "dryRun"),
        ("/pause?DryRun=All", "dryRun"),
        ("/promote?forced=true", "force"),
    ],
)
async def test_a_misspelt_preview_changes_nothing(service, path, nearest):
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    before = service.controller.status()
    answer = await service.admin("POST", path, json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
    assert f"did you mean {nearest!r}" in answer.json()["error"]
    assert service.controller.status()["generation"] == before["generation"]


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        (SESSION, {"vectors": [VECTOR], "positon": 0}, "position"),
        (f"{SESSION}?pos=0", {"vectors": [VECTOR]}, "position"),
        (f"{SESSION}?Position=0", {"vectors": [VECTOR]}, "position"),
        ("/v1/predict", {"context": [VECTOR], "keys": "a"}, "key"),
        ("/v1/feedback", {"request_id": "a", "vector": VECTOR, "requestid": "b"}, "request_id"),
        (INFER, {"inputs": [TENSOR], "parameters": {"sequenceid": 3}}, "sequence_id"),
        (INFER, {"inputs": [TENSOR], "parameter": {"sequence_id": 3}}, "parameters"),
    ],
)
async def test_the_nearest_name_is_said(service, path, body, word):
    answer = await service.client.post(path, json=body)
    assert answer.status_code == 422
    assert f"did you mean {word!r}" in answer.json()["error"]
    assert (await service.client.get("/v1/sessions/s")).status_code == 404


@pytest.mark.parametrize(
    ("field", "nearest"), [("reasn", "reason"), ("canry", "canary"), ("override", "override_gate")]
)
async def test_a_misspelt_field_of_a_start(service, field, nearest):
    answer = await service.admin("POST", json={"canary": "phase-3", field: "x"})
    assert answer.status_code == 422
    assert f"did you mean {nearest!r}" in answer.json()["error"]
    assert service.controller.generation == 0


async def test_a_misspelt_field_of_a_plan(service):
    plan = {"steps": [{"weight": 5, "min_dwell": 3}]}
    answer = await service.admin("POST", json={"canary": "phase-3", "plan": plan})
    assert answer.status_code == 422
    assert "plan.steps.0.min_dwell" in answer.json()["error"]
    assert "did you mean 'min_dwell_seconds'" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (f"{SESSION}?position=0&position=1", {"json": {"vectors": [VECTOR]}}),
        (f"{SESSION}?position=0", {"json": {"vectors": [VECTOR], "position": 5}}),
        (
            "/v1/predict",
            {"json": {"context": [VECTOR], "key": "a"}, "headers": {"X-Routing-Key": "b"}},
        ),
        (
            "/v1/predict",
            {
                "json": {"context": [VECTOR]},
                "headers": [("X-Variant", "stable"), ("X-Variant", "canary")],
            },
        ),
        ("/v1/feedback?request_id=a", {"json": {"request_id": "b", "vector": VECTOR}}),
        (
            INFER,
            {
                "json": {"inputs": [TENSOR], "parameters": {"routing_key": "a"}},
                "headers": {"X-Routing-Key": "b"},
            },
        ),
    ],
)
async def test_two_values_that_differ_are_refused(service, path, options):
    answer = await service.client.post(path, **options)
    assert (answer.status_code, answer.json()["code"]) == (422, "conflicting_parameter")


async def test_the_same_value_twice_is_no_conflict(service):
    answer = await service.client.post(
        f"{SESSION}?position=0&position=0",
        json={"vectors": [VECTOR], "position": 0, "key": "a"},
        headers=[("X-Routing-Key", "a"), ("X-Routing-Key", "a")],
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        '{"canary": "phase-3", "canary": "phase-2"}',
        '{"canary": "phase-3", "plan": {"alpha": 0.01, "alpha": 0.1}}',
    ],
)
async def test_a_field_twice_in_a_change_is_refused(service, content):
    headers = {"Content-Type": "application/json"}
    answer = await service.admin("POST", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "conflicting_parameter")
    assert service.controller.generation == 0


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        (SESSION, '{"vectors": [%s], "position": 0, "position": 5}', "position"),
        (SESSION, '{"vectors": [%s], "vectors": []}', "vectors"),
        (SESSION, '{"vectors": [%s], "key": "a:b", "key": "\\"key\\":"}', "key"),
        ("/v1/predict", '{"context": [%s], "key": "a", "\\u006bey": "b"}', "key"),
        ("/v1/steps", '{"steps": [{"session": "s", "vector": %s, "session": "t"}]}', "session"),
        ("/v1/feedback", '{"vector": %s, "request_id": "a", "request_id": "b"}', "request_id"),
        (INFER, '{"inputs": [], "inputs": [{"data": %s}]}', "inputs"),
        (INFER, '{"x": %s, "parameters": {"sequence_id": 1, "sequence_id": 2}}', "sequence_id"),
        (LOAD, '{"parameters": {"version": "phase-2", "version": "phase-3"}, "x": %s}', "version"),
    ],
)
async def test_a_field_twice_in_any_body_is_refused(service, path, content, name):
    """The parser would keep the last value in silence."""
    headers = {"Authorization": "Bearer " + TOKENS["operator"], "Content-Type": "application/json"}
    answer = await service.client.post(path, content=content % VECTOR, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "conflicting_parameter")
    assert f"'{name}'" in answer.json()["error"]
    assert (await service.client.get("/v1/sessions/s")).status_code == 404


async def test_two_versions_to_load_are_refused(service):
    headers = {"Authorization": "Bearer " + TOKENS["operator"]}
    answer = await service.client.post(
        f"{LOAD}?version=phase-2", json={"parameters": {"version": "phase-3"}}, headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "conflicting_parameter")


async def test_unknown_parameters_of_the_protocol_are_allowed(service):
    """Clients of the protocol may send parameters of their own."""
    body = {"inputs": [TENSOR], "parameters": {"priority": 1, "tracing": "x"}}
    assert (await service.client.post(INFER, json=body)).status_code == 200


def test_other_headers_may_repeat():
    check_headers([(b"accept", b"a"), (b"accept", b"b"), (b"x-variant", b"canary")])
    with pytest.raises(Invalid, match="x-variant is given twice"):
        check_headers([(b"x-variant", b"canary"), (b"x-variant", b"stable")])
