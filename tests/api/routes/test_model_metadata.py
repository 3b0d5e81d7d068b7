"""`/v2`: metadata of server, model and versions."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import pytest

from tests.support.fakes import DIM, put_version, unit_vectors

MODEL = "/v2/models/next-vector"


async def test_the_server_lists_its_extensions(service):
    """And the loaded versions."""
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
async def test_the_model_describes_inputs_and_outputs(service, path):
    """The width is that of the loaded versions; -1 means any size."""
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


async def test_statistics_count_requests(service):
    """For each loaded version, with failures separate."""
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
    """Also the version, which is in no route's signature."""
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    of_v2 = {path: verbs for path, verbs in paths.items() if path.startswith("/v2")}
    assert 18 == len(of_v2)
    for path, verbs in of_v2.items():
        expected = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in verbs.values():
            assert expected == {
                p["name"] for p in operation.get("parameters", []) if p["in"] == "path"
            }
