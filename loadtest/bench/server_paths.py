"""Ways from the socket to a prediction's handler: CPU microseconds of a step in each.

    python -m loadtest.bench.server_paths MODELS

All ways call the same handler of the same service with an engine that costs nothing. They take
turns in one run. Granian, whose RSGI is one of them, is measured where it is installed.
docs/adr/ has the result.
"""

from __future__ import annotations

# Before numpy, as in `nextvec serve`.
from service import blas_threads  # noqa: F401

# isort: split
import asyncio
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from loadtest import streams
from loadtest.bench.echo_engine import EchoEngine
from loadtest.demo.environment import free_port
from loadtest.generator import closed_loop
from loadtest.generator.callers import make_session_callers
from loadtest.generator.event_loop import run_fast
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.process_stats import process_tree, read_cpu_seconds
from loadtest.streams import Streams
from service.api import request_context
from service.api.body_limits import BodyLimitMiddleware
from service.api.connection import Connection
from service.api.fast_path import FastPath
from service.api.http_call import (
    HttpCall,
    HttpReply,
    cancel_on_disconnect,
    note_prediction,
    read_body,
)
from service.api.parameters import check_headers
from service.api.routes import sessions
from service.api.server import server_config
from service.api.services import Services
from service.app import create_app
from service.clock import SystemClock
from service.observability import request_scope
from service.observability.request_scope import RequestScope
from service.settings import RolloutSettings, Settings

WAYS = ("fast path", "plain ASGI", "framework", "RSGI")
_ROUNDS = 4
_SECONDS = 1.0
_SESSION_LENGTH = 400


async def _answer(
    services: Services,
    path: str,
    query: str,
    headers: list[tuple[bytes, bytes]],
    content: bytes,
    watch: Callable[[Coroutine[Any, Any, HttpReply]], Coroutine[Any, Any, HttpReply]],
) -> tuple[HttpReply, list[tuple[bytes, bytes]]]:
    """What a way without the fast path has to do, but for errors and logs.

    `watch` awaits the handler and cancels it when the caller disconnects.
    """
    began = time.perf_counter()
    state: RequestScope = {}
    request_context.begin(state, headers, services.tracing)
    request_scope.enter(state)
    services.check_accepting()
    check_headers(headers)
    found = {n.decode("latin-1"): v.decode("latin-1") for n, v in reversed(headers)}
    call = HttpCall(services, state["request_id"], found, query, content)
    session = path.removeprefix("/v1/sessions/").removesuffix("/vectors")
    services.in_flight.enter()
    try:
        reply = await watch(sessions.handle_append(session, call))
    finally:
        services.in_flight.leave()
    note_prediction(state, reply.prediction)
    more = request_context.headers(state, time.perf_counter() - began)
    return reply, [(b"content-type", reply.media_type.encode()), *more]


async def _await(work: Coroutine[Any, Any, HttpReply]) -> HttpReply:
    """Await the handler. Nothing watches the caller, which favours this way."""
    return await work


class PlainApplication:
    """An ASGI application with the prediction route, ahead of the framework."""

    def __init__(self, services: Services, app: FastAPI) -> None:
        self._services = services
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/v1/sessions/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        content = await read_body(request)
        query = scope["query_string"].decode("latin-1")
        reply, headers = await _answer(
            self._services,
            scope["path"],
            query,
            scope["headers"],
            content,
            partial(cancel_on_disconnect, request),
        )
        headers.append((b"content-length", b"%d" % len(reply.content)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.content})


@asynccontextmanager
async def _service(models: Path) -> AsyncIterator[FastAPI]:
    with tempfile.TemporaryDirectory() as folder:
        rollout = RolloutSettings(database=Path(folder) / "rollout.db")
        settings = Settings(models=models, stable="phase-3", rollout=rollout)
        app = create_app(settings, make_engine=EchoEngine)
        async with app.router.lifespan_context(app):
            yield app


async def _serve_uvicorn(models: Path, way: str, port: int) -> None:
    async with _service(models) as app:
        services = app.state.services
        plain = BodyLimitMiddleware(PlainApplication(services, app), services.bodies)
        application = plain if way == "plain ASGI" else app
        protocol = FastPath if way == "fast path" else Connection
        config = server_config(application, services, protocol=protocol)
        config.port = port
        await uvicorn.Server(config).serve()


class RsgiApplication:
    """The prediction route for Granian. It starts the service in Granian's worker."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._services: Any = None
        self._starting: Any = None

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if self._services is None:
            if self._starting is None:
                self._starting = asyncio.ensure_future(self._start())
            await self._starting
        if scope.method == "GET":
            protocol.response_empty(200, [])
            return
        content = await protocol()
        headers = [(n.encode(), v.encode()) for n, v in scope.headers.items()]
        reply, more = await _answer(
            self._services, scope.path, scope.query_string, headers, content, _await
        )
        found = [(n.decode(), v.decode()) for n, v in more]
        protocol.response_bytes(200, found, reply.content)

    async def _start(self) -> None:
        self._context = _service(self._models)
        app = await self._context.__aenter__()
        self._services = app.state.services


def _serve_rsgi(models: Path, port: int) -> None:
    granian = importlib.import_module("granian")
    server = granian.Granian(
        "rsgi", "127.0.0.1", port, interface="rsgi", workers=1, log_enabled=False
    )
    server.serve(target_loader=partial(RsgiApplication, models), wrap_loader=False)


async def _measure(port: int, pid: int, sessions_at_once: int, data: Streams, run: str) -> float:
    """CPU microseconds of a step."""
    client = HttpClient(f"http://127.0.0.1:{port}")
    clock = SystemClock()
    try:
        callers = make_session_callers(client, data, sessions_at_once, _SESSION_LENGTH, run)
        await closed_loop.run(callers, 1.0, clock)
        before = _cpu(pid), sum(each.position + each.start for each in callers)  # type: ignore[attr-defined]  # session callers
        await closed_loop.run(callers, _SECONDS, clock)
        after = _cpu(pid), sum(each.position + each.start for each in callers)  # type: ignore[attr-defined]  # session callers
        return 1e6 * (after[0] - before[0]) / (after[1] - before[1])
    finally:
        client.close()


def _cpu(pid: int) -> float:
    return sum(read_cpu_seconds(each) for each in process_tree(pid))


async def _ready(port: int) -> None:
    client = HttpClient(f"http://127.0.0.1:{port}", timeout=2.0)
    try:
        for _ in range(300):
            try:
                await client.request("GET", "/v2/health/live")
            except ClientError:
                await asyncio.sleep(0.1)
            else:
                return
        raise SystemExit("a server does not start")
    finally:
        client.close()


async def _drive(ports: Mapping[str, tuple[int, int]]) -> None:
    data = streams.load(streams.SAMPLE)
    for port, _ in ports.values():
        await _ready(port)
    print("| sessions | " + " | ".join(ports) + " |")
    print("|---:|" + "---:|" * len(ports))
    for count in (1, 8):
        costs: dict[str, list[float]] = {way: [] for way in ports}
        for number in range(_ROUNDS):
            for way, (port, pid) in ports.items():
                costs[way].append(await _measure(port, pid, count, data, f"{count}-{number}"))
        shown = [f"{median(each):.0f} ({min(each):.0f})" for each in costs.values()]
        print(f"| {count} | " + " | ".join(shown) + " |", flush=True)


def main() -> None:
    """Print the median cost, and the lowest, of each way for 1 and for 8 sessions."""
    if sys.argv[1] == "--serve":
        models, way, port = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
        if way == "RSGI":
            _serve_rsgi(models, port)
        else:
            run_fast(_serve_uvicorn(models, way, port))
        return
    processes = []
    ports: dict[str, tuple[int, int]] = {}
    try:
        for way in WAYS:
            if way == "RSGI" and importlib.util.find_spec("granian") is None:
                continue
            port = free_port()
            command = [sys.executable, "-m", "loadtest.bench.server_paths", "--serve"]
            processes.append(
                subprocess.Popen(  # noqa: S603  this module
                    [*command, sys.argv[1], way, str(port)], stderr=subprocess.DEVNULL
                )
            )
            ports[way] = port, processes[-1].pid
        run_fast(_drive(ports))
    finally:
        for process in processes:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
