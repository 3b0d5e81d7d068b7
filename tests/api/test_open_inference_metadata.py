"""`/v2`: what it tells of itself, and its repository of versions."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import orjson
import pytest

from tests.support.fakes import DIM, put_version, unit_vectors

MODEL = "/v2/models/next-vector"
REPOSITORY = "/v2/repository"


async def test_the_server_lists_what_it_implements(service):
    """And what it has loaded."""
    content = (await service.client.get("/v2")).json()
    assert "nextvec" == content["name"]
    assert {
        "binary_tensor_data",
        "sequence",
        "sequence(string_id)",
        "model_repository",
        "statistics",
    } <= set(content["extensions"])
    assert not {"classification", "schedule_policy", "trace"} & set(content["extensions"])
    assert {"phase-2", "phase-3"} == {model["version"] for model in content["models"]}


async def test_health_says_both_words(service):
    for path in ("/v2/health/live", "/v2/health/ready"):
        answer = await service.client.get(path)
        assert (200, {"live": True, "ready": True}) == (answer.status_code, answer.json())


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/phase-3"])
async def test_the_model_says_what_it_takes_and_gives(service, path):
    """The width is the loaded versions'; -1 is any size."""
    assert {
        "name": "next-vector",
        "versions": ["phase-2", "phase-3"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [-1, -1, DIM]}],
        "outputs": [{"name": "next_vector", "datatype": "FP32", "shape": [-1, DIM]}],
    } == (await service.client.get(path)).json()


async def test_the_configuration_agrees_with_the_metadata(service):
    content = (await service.client.get(f"{MODEL}/config")).json()
    assert ("next-vector", 0) == (content["name"], content["max_batch_size"])
    assert ("vectors", [-1, -1, DIM]) == (content["input"][0]["name"], content["input"][0]["dims"])


async def test_there_is_one_model(service):
    assert {"models": ["next-vector"]} == (await service.client.get("/v2/models")).json()


@pytest.mark.parametrize("part", ["", "/ready", "/config", "/stats"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/models/other", "model_not_found"),
        (f"{MODEL}/versions/phase-9", "version_not_found"),
    ],
)
async def test_what_there_is_not_is_not_found(service, path, part, code):
    answer = await service.client.get(path + part)
    assert (404, code) == (answer.status_code, answer.json()["code"])
    assert "application/json" == answer.headers["content-type"]


async def test_a_version_on_disk_is_not_ready_until_it_is_loaded(service, models):
    put_version(models, "phase-4")
    answers = {
        version: await service.client.get(f"{MODEL}/versions/{version}/ready")
        for version in ("phase-2", "phase-4")
    }
    assert {"phase-2": 200, "phase-4": 503} == {v: a.status_code for v, a in answers.items()}
    assert {"name": "next-vector", "ready": False} == answers["phase-4"].json()
    assert 200 == (await service.client.get(f"{MODEL}/ready")).status_code


async def infer(service, count, **headers):
    vectors = unit_vectors(count)
    tensor = {"name": "vectors", "shape": [count, DIM], "datatype": "FP32"}
    request = {"inputs": [{**tensor, "data": vectors.tolist()}]}
    return await service.client.post(f"{MODEL}/infer", json=request, headers=headers)


async def test_statistics_count_what_was_done(service):
    """Per loaded version; failures apart."""
    for _ in range(3):
        await infer(service, 2)
    await service.client.post(
        f"{MODEL}/infer",
        json={
            "inputs": [
                {"name": "vectors", "shape": [1, DIM], "datatype": "FP32", "data": [0] * DIM}
            ]
        },
    )
    content = (await service.client.get(f"{MODEL}/versions/phase-2/stats")).json()
    (stats,) = content["model_stats"]
    assert ("next-vector", "phase-2", 3, 3) == (
        stats["name"],
        stats["version"],
        stats["inference_count"],
        stats["execution_count"],
    )
    counts = {name: figure["count"] for name, figure in stats["inference_stats"].items()}
    assert {
        "success": 3,
        "fail": 1,
        "queue": 3,
        "compute_input": 0,
        "compute_infer": 3,
        "compute_output": 0,
        "cache_hit": 0,
        "cache_miss": 0,
    } == counts
    assert int(service.clock.time() * 1000) == stats["last_inference"]


async def test_statistics_of_all_are_those_of_the_model(service):
    everything = (await service.client.get("/v2/models/stats")).json()
    assert everything == (await service.client.get(f"{MODEL}/stats")).json()
    assert ["phase-2", "phase-3"] == [stats["version"] for stats in everything["model_stats"]]


async def test_the_api_page_and_the_protocol_report_the_installed_version(service):
    page = (await service.client.get("/openapi.json")).json()
    server = (await service.client.get("/v2")).json()
    assert installed_version("nextvec") == page["info"]["version"] == server["version"]


async def test_the_openapi_page_has_every_parameter_of_a_path(service):
    """The version too, which no route's signature names."""
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    of_v2 = {path: verbs for path, verbs in paths.items() if path.startswith("/v2")}
    assert 18 == len(of_v2)
    for path, verbs in of_v2.items():
        expected = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in verbs.values():
            assert expected == {p["name"] for p in operation.get("parameters", [])}


# --- the repository ---


async def post(service, path, content=None, role="operator", **query):
    headers = {"Authorization": f"Bearer {role}-token"} if role else {}
    return await service.client.post(
        f"{REPOSITORY}{path}",
        content=b"" if content is None else orjson.dumps(content),
        headers=headers,
        params=query,
    )


def named(version):
    return {"parameters": {"version": version}}


LOAD = "/models/next-vector/load"
UNLOAD = "/models/next-vector/unload"


@pytest.mark.parametrize("path", ["/index", LOAD, UNLOAD])
@pytest.mark.parametrize(("role", "status"), [(None, 401), ("nobody", 401), ("viewer", 403)])
async def test_the_repository_needs_an_operator(service, path, role, status):
    answer = await post(service, path, named("phase-3"), role)
    assert status == answer.status_code
    assert "application/json" == answer.headers["content-type"]


async def test_the_index_says_what_is_loaded(service, models):
    """All on disk, or the ready ones when asked."""
    put_version(models, "phase-4")
    states = {"phase-2": "READY", "phase-3": "READY", "phase-4": "UNAVAILABLE"}
    everything = (await post(service, "/index")).json()
    assert states == {entry["version"]: entry["state"] for entry in everything}
    assert {"next-vector"} == {entry["name"] for entry in everything}
    ready = (await post(service, "/index", {"ready": True})).json()
    assert ["phase-2", "phase-3"] == [entry["version"] for entry in ready]


async def test_a_version_can_be_unloaded_and_loaded_again(service):
    """By the parameter or the query; loading what is loaded changes nothing."""
    path = f"{MODEL}/versions/phase-3"
    assert 200 == (await post(service, UNLOAD, named("phase-3"))).status_code
    assert 404 == (await service.client.get(path)).status_code
    assert 404 == (await post(service, UNLOAD, named("phase-3"))).status_code
    for _ in range(2):
        assert 200 == (await post(service, LOAD, version="phase-3")).status_code
    assert 200 == (await service.client.get(path)).status_code


async def test_what_a_rollout_needs_is_not_unloaded(service):
    """Stable, the canary while it is on trial, and what an undo would bring back."""
    stable = await post(service, UNLOAD, named("phase-2"))
    assert (409, "version_in_use") == (stable.status_code, stable.json()["code"])
    await service.admin("POST", json={"canary": "phase-3"})
    assert 409 == (await post(service, UNLOAD, named("phase-3"))).status_code
    await service.controller.prepared()
    assert 409 == (await post(service, UNLOAD, named("phase-3"))).status_code
    await service.admin("POST", "/abort")
    assert 200 == (await post(service, UNLOAD, named("phase-3"))).status_code


async def test_the_version_before_a_promotion_stays(service):
    """For an undo."""
    await service.admin("POST", json={"canary": "phase-3"})
    await service.controller.prepared()
    for _ in range(20):
        if service.controller.status()["phase"] == "Healthy":
            break
        service.clock.advance(3600)
        await service.controller.tick()
        await service.admin("POST", "/promote?force=true")
    assert "phase-3" == service.controller.status()["stable"]
    for version in ("phase-2", "phase-3"):
        assert 409 == (await post(service, UNLOAD, named(version))).status_code


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        (LOAD, None, 400, "malformed"),
        (LOAD, [], 400, "malformed"),
        (LOAD, {"parameters": []}, 400, "malformed"),
        (LOAD, {"parameters": {"version": 3}}, 400, "malformed"),
        (LOAD, {"parameters": {"version": "phase-3", "config": "{}"}}, 400, "malformed"),
        (LOAD, {"parameters": {"file:1/model.onnx": ""}}, 400, "malformed"),
        (LOAD, named("phase-9"), 404, "version_not_found"),
        (LOAD, named("../phase-2"), 404, "version_not_found"),
        ("/models/other/load", named("phase-3"), 404, "model_not_found"),
        (UNLOAD, None, 400, "malformed"),
        (UNLOAD, named("phase-9"), 404, "version_not_found"),
        ("/models/other/unload", named("phase-3"), 404, "model_not_found"),
    ],
)
async def test_what_cannot_be_loaded_is_refused(service, path, content, status, code):
    """And changes nothing."""
    answer = await post(service, path, content)
    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert 2 == len((await post(service, "/index", {"ready": True})).json())


async def test_a_damaged_version_is_not_loaded(service, models):
    """Its digest says so: 422."""
    folder = put_version(models, "phase-4")
    (folder / "model.onnx").write_bytes(b"other")
    answer = await post(service, LOAD, named("phase-4"))
    assert (422, "version_unusable") == (answer.status_code, answer.json()["code"])
