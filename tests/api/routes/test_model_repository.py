"""The repository of `/v2`: index, load and unload."""

from __future__ import annotations

import orjson
import pytest

from tests.support.fakes import TOKENS, put_version

MODEL = "/v2/models/next-vector"
REPOSITORY = "/v2/repository"


async def post(service, path, content=None, role="operator", **query):
    headers = {"Authorization": f"Bearer {TOKENS.get(role, role)}"} if role else {}
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


async def test_the_index_shows_which_versions_are_ready(service, models):
    """It lists all versions on disk, or the ready ones on request."""
    put_version(models, "phase-4")
    states = {"phase-2": "READY", "phase-3": "READY", "phase-4": "UNAVAILABLE"}
    everything = (await post(service, "/index")).json()
    assert states == {entry["version"]: entry["state"] for entry in everything}
    assert {"next-vector"} == {entry["name"] for entry in everything}
    ready = (await post(service, "/index", {"ready": True})).json()
    assert ["phase-2", "phase-3"] == [entry["version"] for entry in ready]


async def test_a_version_can_be_unloaded_and_loaded_again(service):
    """By the parameter or the query. Loading a loaded version changes nothing."""
    path = f"{MODEL}/versions/phase-3"
    assert 200 == (await post(service, UNLOAD, named("phase-3"))).status_code
    assert 404 == (await service.client.get(path)).status_code
    assert 404 == (await post(service, UNLOAD, named("phase-3"))).status_code
    for _ in range(2):
        assert 200 == (await post(service, LOAD, version="phase-3")).status_code
    assert 200 == (await service.client.get(path)).status_code


async def test_what_a_rollout_needs_is_not_unloaded(service):
    """Stable, the canary of a running rollout, and the version that an undo restores."""
    stable = await post(service, UNLOAD, named("phase-2"))
    assert (409, "version_in_use") == (stable.status_code, stable.json()["code"])
    await service.admin("POST", json={"canary": "phase-3"})
    assert 409 == (await post(service, UNLOAD, named("phase-3"))).status_code
    await service.controller.prepared()
    assert 409 == (await post(service, UNLOAD, named("phase-3"))).status_code
    await service.admin("POST", "/abort")
    assert 200 == (await post(service, UNLOAD, named("phase-3"))).status_code


async def test_the_version_before_a_promotion_stays(service):
    """An undo needs it."""
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
    """Nothing changes."""
    answer = await post(service, path, content)
    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert 2 == len((await post(service, "/index", {"ready": True})).json())


async def test_a_damaged_version_is_not_loaded(service, models):
    """422, because its digest differs."""
    folder = put_version(models, "phase-4")
    (folder / "model.onnx").write_bytes(b"other")
    answer = await post(service, LOAD, named("phase-4"))
    assert (422, "version_unusable") == (answer.status_code, answer.json()["code"])
