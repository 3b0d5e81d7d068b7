"""The fast path answers predictions exactly as the ASGI route does."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
import uvicorn

from service.api.routes import predict
from service.api.server import server_config
from tests.support.fakes import FakeEngine, fault, unit_vectors

OCTETS = "application/octet-stream"
BINARY = {"Content-Type": OCTETS}
CONTEXT = unit_vectors(5).tobytes()
JSON = {"context": unit_vectors(3).tolist(), "key": "a"}
INFER = "/v2/models/next-vector/infer"
TENSOR = {"name": "vectors", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 0]}


@dataclass
class PathRecorder:
    """The application, and the paths of the requests that reached it."""

    app: object
    paths: list[str] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        await self.app(scope, receive, send)


@asynccontextmanager
async def listening(service):
    """A client of the service over a socket, and the requests that reached the framework."""
    spied = PathRecorder(service.app)
    config = server_config(spied, service.app.state.services)
    config.port = 0
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        yield client, spied.paths, server
    await server.shutdown()


def hold(engine):
    """Hold every later run, and signal when one has begun."""
    while engine.entered.acquire(blocking=False):
        pass  # those of the warm-up
    engine.gate.clear()


def comparable(answer):
    """The response without its request id and timings."""
    headers = dict(answer.headers)
    identity = headers.pop("x-request-id")
    headers["server-timing"] = re.sub(r"=[\d.]+", "", headers["server-timing"])
    headers.pop("date", None)
    headers.pop("server", None)
    return answer.status_code, headers, answer.content.replace(identity.encode(), b"id")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/predict", {"content": CONTEXT, "headers": BINARY}),
        ("/v1/predict", {"content": CONTEXT, "headers": {**BINARY, "Accept": OCTETS}}),
        ("/v1/predict", {"json": JSON}),
        ("/v1/predict", {"json": JSON, "headers": {"X-Variant": "stable", "X-Request-Id": "mine"}}),
        ("/v1/predict", {"json": JSON, "headers": {"X-Variant": "canary"}}),
        ("/v1/predict", {"json": JSON, "headers": {"X-Variant": "other"}}),
        ("/v1/predict", {"json": JSON, "headers": {"Accept": "text/html"}}),
        ("/v1/predict", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("/v1/predict", {"content": b"a", "headers": {"Content-Type": "text/plain"}}),
        ("/v1/predict", {"content": b"", "headers": BINARY}),
        ("/v1/predict", {"content": CONTEXT[:-1], "headers": BINARY}),
        ("/v1/predict", {"content": b"\xff" * 16, "headers": BINARY}),
        ("/v1/sessions/a/vectors", {"content": CONTEXT, "headers": BINARY}),
        ("/v1/sessions/a/vectors", {"json": {"vectors": JSON["context"], "position": 0}}),
        ("/v1/sessions/b/vectors?position=7", {"content": CONTEXT, "headers": BINARY}),
        ("/v1/sessions/a/vectors?position=x", {"content": CONTEXT, "headers": BINARY}),
        ("/v1/sessions/a!/vectors", {"content": CONTEXT, "headers": BINARY}),
        (INFER, {"json": {"inputs": [TENSOR]}}),
        (INFER, {"json": {"inputs": [TENSOR], "parameters": {"sequence_id": 1}}}),
        (INFER, {"json": {"inputs": []}}),
        ("/v2/models/other/infer", {"json": {"inputs": [TENSOR]}}),
        ("/v2/models/next-vector/versions/phase-2/infer", {"json": {"inputs": [TENSOR]}}),
        ("/v2/models/next-vector/versions/none/infer", {"json": {"inputs": [TENSOR]}}),
    ],
)  # fmt: skip
async def test_both_paths_give_the_same_response(start, path, sent):
    """Status, headers and body, of predictions and of errors."""
    async with start() as service:
        expected = comparable(await service.client.post(path, **sent))
    async with start() as service, listening(service) as (client, seen, _):
        assert expected == comparable(await client.post(path, **sent))
        assert seen == []


@pytest.mark.parametrize(
    ("problem", "status"), [(fault(), 500), (RuntimeError("a bug"), 500)], ids=["engine", "bug"]
)
async def test_a_fault_is_answered_and_the_connection_stays_open(service, problem, status):
    """An engine fault, or an unexpected exception."""
    async with listening(service) as (client, _, _):
        service.engines["phase-2"].faults.append(problem)
        answer = await client.post("/v1/predict", content=CONTEXT, headers=BINARY)
        assert (answer.status_code, answer.json()["code"]) == (status, "engine_fault")
        assert answer.headers["x-model-version"] == "phase-2"
        assert (await client.post("/v1/predict", content=CONTEXT, headers=BINARY)).is_success


async def test_a_bug_in_a_route_is_an_internal_error(service, monkeypatch):
    """The response contains the request id, but not the message of the exception."""

    async def broken(_call):
        raise KeyError("secret")

    monkeypatch.setattr(predict, "handle_predict", broken)
    async with listening(service) as (client, seen, _):
        answer = await client.post("/v1/predict", content=CONTEXT, headers=BINARY)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "secret" not in answer.text
        assert seen == []


async def test_unusual_requests_take_the_asgi_route(service):
    """Chunked bodies, escapes in the path, other methods."""

    async def chunks():
        yield CONTEXT[:7]
        yield CONTEXT[7:]

    async with listening(service) as (client, seen, _):
        chunked = await client.post("/v1/predict", content=chunks(), headers=BINARY)
        whole = await client.post("/v1/predict", content=CONTEXT, headers=BINARY)
        assert (chunked.status_code, chunked.content) == (200, whole.content)
        assert (await client.get("/v1/predict")).status_code == 405
        await client.post("/v1/sessions/a%2Db/vectors", content=CONTEXT, headers=BINARY)
        assert (await client.get("/v1/sessions/a-b")).json()["length"] == 5
        assert len(seen) == 4


async def test_a_draining_service_answers_503(service):
    """Before any work."""
    async with listening(service) as (client, _, _):
        service.app.state.services.accepting = False
        answer = await client.post("/v1/predict", content=CONTEXT, headers=BINARY)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


async def test_bodies_of_the_fast_path_count_towards_the_limit(start):
    """They are released with their responses."""
    async with (
        start(limits={"max_held_bytes": 200}) as service,
        listening(service) as (client, _, _),
    ):
        for _ in range(5):
            assert (await client.post("/v1/predict", content=CONTEXT, headers=BINARY)).is_success
        large = unit_vectors(20).tobytes()
        answer = await client.post("/v1/predict", content=large, headers=BINARY)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert (await client.post("/v1/predict", content=CONTEXT, headers=BINARY)).is_success


async def test_a_caller_who_leaves_is_counted_and_its_place_is_free(service):
    """The request is dropped before the engine gets it, and its bytes are released."""
    engine: FakeEngine = service.engines["phase-2"]
    async with listening(service) as (client, _, _):
        hold(engine)
        held = asyncio.create_task(client.post("/v1/predict", content=CONTEXT, headers=BINARY))
        await asyncio.to_thread(engine.entered.acquire)
        leaving = asyncio.create_task(client.post("/v1/predict", content=CONTEXT, headers=BINARY))
        scheduler = service.app.state.services.registry.get("phase-2").scheduler
        while not scheduler.waiting:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        while scheduler.waiting:
            await asyncio.sleep(0)
        engine.gate.set()
        assert (await held).is_success
        assert [[5]] == engine.batches[-1:]
        cancelled = await service.metric(
            "nextvec_requests_total",
            variant="stable",
            version="phase-2",
            mode="prefill",
            outcome="cancelled",
        )
        assert cancelled == 1


async def test_draining_waits_for_pending_responses(service):
    """The connection then closes."""
    engine = service.engines["phase-2"]
    async with listening(service) as (client, _, server):
        hold(engine)
        held = asyncio.create_task(client.post("/v1/predict", content=CONTEXT, headers=BINARY))
        await asyncio.to_thread(engine.entered.acquire)
        for connection in list(server.server_state.connections):
            connection.shutdown()
        engine.gate.set()
        answer = await held
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        expected = FakeEngine().expected(np.frombuffer(CONTEXT, "<f4").reshape(-1, 4))
        np.testing.assert_allclose(expected, answer.json()["next_vector"], atol=1e-6)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
async def test_a_health_check_with_a_parameter_is_refused_as_on_the_asgi_route(service, path):
    async with listening(service) as (client, paths, _):
        assert (await client.get(path)).status_code == 200
        answer = await client.get(f"{path}?dryrun=All")

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")
    assert [path] == paths
