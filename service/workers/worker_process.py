"""A worker: it answers HTTP, and has neither sessions nor engines."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from functools import partial

from service.api.access.api_keys import KeyRing
from service.api.body_limits import BodyBudget
from service.api.edge import Edge
from service.api.listener import Listener
from service.api.server import Server, loop_factory, server_config
from service.api.tls import certificate_loader
from service.clock import SystemClock
from service.observability.access_log import AccessLog
from service.observability.logging_setup import configure_logging
from service.observability.trace_export import make_tracer
from service.observability.tracing import TraceRecorder
from service.workers import door as doors
from service.workers.arena import Arena
from service.workers.child import EX_TEMPFAIL, WorkerStart, read_start, report_ready
from service.workers.link import EngineLink
from service.workers.messages import ServiceState
from service.workers.passthrough import Passthrough
from service.workers.remote_predictor import RemoteKeyHolder, RemotePredictor

logger = logging.getLogger(__name__)

_MARGIN_SECONDS = 1.0
"""How much longer than the service's deadline a worker waits for the engine process."""


class WorkerServer(Server):
    """Serves on the worker's own sockets, and stops when the engine process does."""

    def __init__(self, edge: Edge, start: WorkerStart, app: Passthrough) -> None:
        self.certificate = certificate_loader(start.settings.tls)
        super().__init__(edge, server_config(app, edge, self.certificate))
        self.config.root_path = ""  # the engine process adds it
        self._start = start

    def lose_engine(self) -> None:
        """Answer what is open, and stop."""
        self._services.accepting = False
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        report_ready(self._start)

    def _listen(self, bound: list[socket.socket]) -> None:
        self.servers = [
            Listener(  # type: ignore[list-item]  # has what uvicorn calls
                bound,
                self._make_protocol,
                self._services.connections,
                self.config.ssl,
                [socket.socket(fileno=descriptor) for descriptor in self._start.spare],
            )
        ]

    def _announce(self, bound: list[socket.socket]) -> None:
        if self._start.slot == 0:  # once for all workers
            super()._announce(bound)


class Worker:
    """One worker, from its link to the engine process to the end of its server."""

    def __init__(self, start: WorkerStart) -> None:
        self._start = start
        settings = start.settings
        # The memory of all bodies is divided among the workers; what travels lies here.
        share = -(-settings.limits.max_held_bytes // start.workers)
        self._held = max(share, settings.limits.max_body_bytes)
        self._arena = Arena(-(-self._held // 4096) * 4096)
        self._state: asyncio.Future[ServiceState] = asyncio.get_running_loop().create_future()
        self._link = EngineLink(
            self._arena,
            settings.limits.timeout_seconds + _MARGIN_SECONDS,
            self._on_state,
            self._on_lost,
        )
        self._edge: Edge | None = None
        self._server: WorkerServer | None = None
        self._versions = 1
        self._lost = False

    async def run(self) -> int:
        """Serve until a signal or the end of the engine process. Return the exit status."""
        door = socket.socket(fileno=self._start.door)
        try:
            stream = doors.open_link(door, self._arena.descriptor)
        except OSError as error:
            logger.error("no connection to the engine process: %s", error.strerror)  # noqa: TRY400  an expected error
            return EX_TEMPFAIL
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=stream)
        state = await self._state
        if self._lost:
            return EX_TEMPFAIL
        tracer, flush_traces = make_tracer(self._start.settings.tracing)
        self._edge = edge = self._make_edge(state, TraceRecorder(tracer))
        self._on_state(state)
        self._server = server = WorkerServer(
            edge, self._start, Passthrough(partial(doors.open_http, door))
        )
        server.begin()
        watch = None
        if server.certificate is not None:
            watch = asyncio.create_task(server.certificate.watch())
        await server.serve([socket.socket(fileno=number) for number in self._start.listening])
        if watch is not None:
            watch.cancel()
        self._link.close()
        edge.parsing.close()
        await asyncio.to_thread(flush_traces)
        return EX_TEMPFAIL if self._lost else 0

    def _make_edge(self, state: ServiceState, traces: TraceRecorder) -> Edge:
        settings = self._start.settings
        limits = settings.limits.model_copy(update={"max_held_bytes": self._held})
        return Edge(
            settings=settings,
            predictor=RemotePredictor(self._link),
            keys=KeyRing(settings.callers, lambda each: RemoteKeyHolder(each, self._link)),
            bodies=BodyBudget(limits),
            access_log=AccessLog(settings.log.access_share, SystemClock().monotonic),
            tracing=traces,
            versions=lambda: self._versions,
            # The engine process knows the versions, and says so.
            check_version=lambda _version: None,
            on_refusal=self._link.count_refusal,
            share=self._start.workers,
            dim=state.dim,
        )

    def _on_state(self, state: ServiceState) -> None:
        self._versions = state.versions
        if not self._state.done():
            self._state.set_result(state)
        edge, server = self._edge, self._server
        if edge is not None and (server is None or not server.should_exit):
            edge.accepting = state.accepting
            edge.draining = edge.draining or state.draining

    def _on_lost(self) -> None:
        self._lost = self._server is None or not self._server.should_exit
        if not self._state.done():
            self._state.set_result(ServiceState(accepting=False, draining=True, versions=0, dim=0))
        if self._server is not None and self._lost:
            logger.error("the engine process has ended")
            self._server.lose_engine()


async def _run(start: WorkerStart) -> int:
    return await Worker(start).run()


def main() -> None:
    """Run the worker that the supervisor has started."""
    start = read_start(WorkerStart)
    configure_logging(start.settings.log)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        status = runner.run(_run(start))
    sys.exit(status)


if __name__ == "__main__":
    main()
