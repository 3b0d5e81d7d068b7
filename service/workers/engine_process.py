"""The engine process: sessions, engines and rollout, without a port. Its workers have that."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

from fastapi import FastAPI

from service.api.connection import Connection
from service.api.server import Server, loop_factory, server_config
from service.api.services import Services
from service.app import create_app
from service.errors import NextvecError
from service.observability.logging_setup import configure_logging
from service.rpc.lifespan import serving_rpc
from service.settings import Settings
from service.workers.calls import WorkerCalls
from service.workers.child import EngineStart, read_start, report_ready
from service.workers.door import DoorListener
from service.workers.messages import ServiceState
from service.workers.passthrough import ForwardedMiddleware

logger = logging.getLogger(__name__)

_STATE_SECONDS = 0.05


class EngineServer(Server):
    """Serves workers. A drain ends when the last worker has gone."""

    def __init__(self, services: Services, app: FastAPI, start: EngineStart) -> None:
        config = server_config(ForwardedMiddleware(app), services, protocol=Connection)
        config.proxy_headers = False  # the worker has read them
        super().__init__(services, config)
        self._start = start
        self._links: set[WorkerCalls] = set()
        self._told: ServiceState | None = None
        self._stopping = False
        self._services: Services = services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  as uvicorn calls it
        """Open the doors for the workers."""
        await self.lifespan.startup()
        doors = [socket.socket(fileno=descriptor) for descriptor in self._start.doors]
        self.servers = [DoorListener(doors, self._make_protocol, self._make_link)]  # type: ignore[list-item]  # has what uvicorn calls
        self.started = True
        self._telling = asyncio.create_task(self._tell_states())
        report_ready(self._start)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a signal handler
        """Drain until the workers have gone; see the class. A second SIGINT skips the wait."""
        self._services.draining = True
        if self._stopping:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._stopping = True
        seconds = 0.0 if sig == signal.SIGINT else self._services.settings.http.drain_seconds
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._end_streams)

    def _end_streams(self) -> None:
        """An event stream would keep its worker for ever."""
        self._services.close_subscriptions()
        if not self._links:
            self.should_exit = True

    def _make_link(self, arena: int) -> WorkerCalls:
        link = WorkerCalls(self._services, arena, self._on_lost)
        self._links.add(link)
        self._told = None
        return link

    def _on_lost(self, link: WorkerCalls) -> None:
        self._links.discard(link)
        if self._stopping and not self._links:
            self.should_exit = True

    async def _tell_states(self) -> None:
        """Tell all workers the state of the service when it has changed."""
        while True:
            services = self._services
            state = ServiceState(
                services.accepting, services.draining, services.versions(), services.dim
            )
            if state != self._told:
                self._told = state
                for link in self._links:
                    link.tell(state)
            await asyncio.sleep(_STATE_SECONDS)


async def _serve(app: FastAPI, start: EngineStart) -> None:
    async with app.router.lifespan_context(app):
        server = EngineServer(app.state.services, app, start)
        server.begin()
        async with serving_rpc(app.state.services):
            await server.serve()


def main(create: Callable[[Settings], FastAPI] = create_app) -> None:
    """Run the engine process that the supervisor has started."""
    start = read_start(EngineStart)
    configure_logging(start.settings.log)
    sys.setswitchinterval(0.000_5)  # as in `nextvec serve` (ADR 23)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(create(start.settings), start))
    except NextvecError as error:
        raise SystemExit(f"nextvec serve: {error}") from error


if __name__ == "__main__":
    main()
