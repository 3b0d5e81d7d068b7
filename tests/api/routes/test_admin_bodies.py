"""Bodies of the admin API and of the repository: the role is checked before they are read."""

from __future__ import annotations

import json

import pytest

from service.api.body_limits import SMALL_BODY_BYTES
from tests.support.fakes import TOKENS

POSTS = [
    "/admin/v1/rollout",
    *(
        f"/admin/v1/rollout/{verb}"
        for verb in ("retry", "promote", "abort", "pause", "resume", "undo")
    ),
    "/v2/repository/index",
    "/v2/repository/models/next-vector/load",
    "/v2/repository/models/next-vector/unload",
]
JSON = {"Content-Type": "application/json"}


class Body:
    """An endless body that notes whether it was read."""

    def __init__(self):
        self.read = 0

    async def __aiter__(self):
        while True:
            self.read += 1000
            yield b" " * 1000


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("nobody", 401), (TOKENS["viewer"], 403)]
)
async def test_the_body_of_a_caller_without_the_role_is_not_read(service, path, token, status):
    headers = {**JSON, **({"Authorization": f"Bearer {token}"} if token else {})}
    body = Body()
    answer = await service.client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    assert body.read == 0


@pytest.mark.parametrize("path", [path for path in POSTS if not path.endswith("abort")])
async def test_a_body_over_64_kib_is_refused(service, path):
    """Declared, or found out while it arrives; no more of it is read than the limit."""
    headers = {**JSON, "Authorization": f"Bearer {TOKENS['approver']}"}
    declared = await service.client.post(
        path, content=b" " * (SMALL_BODY_BYTES + 1), headers=headers
    )
    body = Body()
    streamed = await service.client.post(path, content=body, headers=headers)
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert body.read <= SMALL_BODY_BYTES + 2000


async def test_an_abort_needs_no_readable_body(service):
    """Too large, endless or of another type: the abort takes effect."""
    headers = {"Authorization": f"Bearer {TOKENS['operator']}", "Content-Type": "text/plain"}
    for body in (b"x" * (SMALL_BODY_BYTES + 1), Body(), b"\xff"):
        started = await service.admin("POST", json={"canary": "phase-3"})
        assert started.status_code == 202
        answer = await service.client.post("/admin/v1/rollout/abort", content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["phase"] == "RolledBack"


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
async def test_a_start_with_another_type_is_unsupported(service, kind):
    headers = {"Authorization": f"Bearer {TOKENS['operator']}", "Content-Type": kind}
    content = json.dumps({"canary": "phase-3"}).encode()
    answer = await service.client.post("/admin/v1/rollout", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert service.controller.generation == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"canary": "a", "plan": {"warm_up_requests": %s}}' % ("9" * 5000), "4300 digits"),
        ("[" * 60_000, "recursion"),
        ('{"canary": ', "Expecting value"),
    ],
)
async def test_json_that_cannot_be_read_says_why(service, content, reason):
    headers = {"Authorization": f"Bearer {TOKENS['operator']}", "Content-Type": "application/json"}
    answer = await service.client.post("/admin/v1/rollout", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert reason in answer.json()["error"]


BIG = "x" * 60_000
LOAD = "/v2/repository/models/next-vector/load"
INFER = "/v2/models/next-vector/infer"
TENSOR = {"name": "vectors", "shape": [1, 4], "data": [1, 0, 0, 0]}


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("POST", "/admin/v1/rollout", {"json": {"canary": BIG}}),
        ("POST", "/admin/v1/rollout", {"json": {BIG: 1}}),
        ("POST", "/admin/v1/rollout", {"json": {"canary": [{}] * 10_000}}),
        ("POST", "/admin/v1/rollout", {"json": {"canary": "a", "plan": {BIG: BIG}}}),
        ("POST", "/admin/v1/rollout/pause", {"headers": {"If-Match": BIG}}),
        ("POST", "/v2/repository/index", {"json": [BIG]}),
        ("POST", LOAD, {"json": {"parameters": {"version": BIG}}}),
        ("POST", LOAD, {"json": {"parameters": {f"file:{BIG}": 1}}}),
        ("POST", f"/v2/repository/models/{BIG}/load", {}),
        ("POST", "/v1/feedback", {"json": {"request_id": BIG, "vector": [1.0]}}),
        ("POST", "/v1/sessions/s/vectors", {"json": {"vectors": [[1, 0, 0, 0]], "position": BIG}}),
        ("POST", "/v1/sessions/s/vectors", {"json": {"vectors": [[1, 0, 0, 0]], "key": BIG}}),
        ("POST", f"/v1/sessions/{BIG}/vectors", {"json": {"vectors": [[1, 0, 0, 0]]}}),
        ("POST", f"/v1/sessions/s/vectors?position={BIG}", {"json": {"vectors": [[1, 0, 0, 0]]}}),
        ("GET", f"/v1/sessions/{BIG}", {}),
        ("GET", f"/v2/models/next-vector/versions/{BIG}/ready", {}),
        ("GET", f"/v2/models/next-vector/versions/{BIG}", {}),
        ("GET", f"/v2/models/{BIG}", {}),
        ("GET", f"/console/{BIG}", {}),
        ("POST", "/v1/predict", {"content": b"1", "headers": {"Content-Type": BIG}}),
        ("POST", "/v1/predict", {"content": b"1", "headers": {"Content-Encoding": BIG}}),
        ("POST", "/v1/predict", {"content": b"1", "headers": {"Accept": BIG}}),
        ("POST", "/v1/predict", {"content": b"1", "headers": {"X-Variant": BIG}}),
        ("POST", "/v1/predict", {"content": b"1", "headers": {"X-Routing-Key": BIG}}),
        ("POST", INFER, {"json": {"inputs": [{"name": BIG}]}}),
        ("POST", INFER, {"json": {"inputs": [{**TENSOR, "datatype": BIG}]}}),
        ("POST", INFER, {"content": b"1", "headers": {"Inference-Header-Content-Length": BIG}}),
    ],
)
async def test_an_error_repeats_little_of_what_was_sent(service, method, path, request_):
    headers = {"Authorization": f"Bearer {TOKENS['approver']}", **request_.pop("headers", {})}
    answer = await service.client.request(method, path, headers=headers, **request_)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 1000
