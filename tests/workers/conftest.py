"""A worker's side and the engine process's side, in one process over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from service.app import create_app
from service.settings import Settings
from service.workers.arena import Arena
from service.workers.calls import WorkerCalls
from service.workers.link import EngineLink
from service.workers.messages import ServiceState
from service.workers.remote_predictor import RemotePredictor
from tests.support.fakes import FakeEngine, put_version
from tests.workers.support import wait_until

ARENA_BYTES = 256 * 1024


@dataclass
class LinkUnderTest:
    """Both sides of a link, and what they have told."""

    app: object
    engines: dict[str, FakeEngine]
    arena: Arena
    link: EngineLink
    calls: WorkerCalls
    states: list[ServiceState] = field(default_factory=list)
    lost: list[object] = field(default_factory=list)

    @property
    def services(self):
        return self.app.state.services

    @property
    def predictor(self):
        return RemotePredictor(self.link)


@pytest.fixture
def linked(tmp_path):
    """Start a service and a link to it; keywords are settings."""
    for version, window in (("phase-2", 8), ("phase-3", 16)):
        put_version(tmp_path / "models", version, window=window)

    @asynccontextmanager
    async def begin(patience=10.0, **settings):
        engines = {"phase-2": FakeEngine(0.5), "phase-3": FakeEngine(0.9)}
        app = create_app(
            Settings(
                models=tmp_path / "models",
                canary="phase-3",
                rollout={"database": tmp_path / "state.db"},
                **settings,
            ),
            make_engine=lambda files: engines[files.manifest.version],
        )
        async with app.router.lifespan_context(app):
            services = app.state.services
            loop = asyncio.get_running_loop()
            ours, theirs = socket.socketpair()
            for end in (ours, theirs):
                end.setblocking(False)  # noqa: FBT003
            arena = Arena(ARENA_BYTES)
            under_test = LinkUnderTest(app, engines, arena, None, None)
            under_test.link = EngineLink(
                arena, patience, under_test.states.append, lambda: under_test.lost.append("worker")
            )
            under_test.calls = WorkerCalls(
                services, os.dup(arena.descriptor), under_test.lost.append
            )
            await loop.create_connection(lambda: under_test.calls, sock=theirs)
            await loop.create_connection(lambda: under_test.link, sock=ours)
            under_test.calls.tell(ServiceState(True, False, 2, services.dim))  # noqa: FBT003
            await wait_until(lambda: under_test.states)
            yield under_test
            under_test.link.close()
            await wait_until(lambda: len(under_test.lost) == 2)

    return begin
