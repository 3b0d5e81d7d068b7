"""The objects that routes use, composed in `app.py` and stored on `app.state`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from service.api.access.authenticator import Authenticator
from service.api.body_limits import BodyBudget
from service.api.connection_limit import ConnectionLimit, largest_number_of_connections
from service.api.console.timeline import Timeline
from service.api.in_flight import InFlightLimit
from service.api.parsing import ParsingThread
from service.api.start_queue import StartQueue
from service.errors import NotReady
from service.inference.registry import Registry
from service.metrics import Metrics
from service.observability.access_log import AccessLog
from service.observability.tracing import TraceRecorder
from service.prediction.dispatch import Dispatch
from service.rollout.controller.controller import Controller
from service.settings import Settings


@dataclass
class Services:
    """The parts of one service.

    `accepting` is false before warm-up and at the end of a drain, `draining` is true from the
    signal to stop.
    """

    settings: Settings
    metrics: Metrics
    registry: Registry
    dispatch: Dispatch
    controller: Controller
    bodies: BodyBudget
    authenticator: Authenticator
    access_log: AccessLog
    tracing: TraceRecorder
    timeline: Timeline
    dim: int = 0
    accepting: bool = field(default=False)
    draining: bool = field(default=False)
    connections: ConnectionLimit = field(init=False)
    in_flight: InFlightLimit = field(init=False)
    starts: StartQueue = field(default_factory=StartQueue)
    parsing: ParsingThread = field(default_factory=ParsingThread)

    def __post_init__(self) -> None:
        wanted = self.settings.http.max_connections
        self.connections = ConnectionLimit(largest_number_of_connections(wanted))
        self.in_flight = InFlightLimit(self.settings.engine, lambda: len(self.registry.loaded))

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests."""
        return self.accepting and not self.draining

    def check_accepting(self) -> None:
        """Raise `NotReady` before warm-up and while draining."""
        if not self.accepting:
            raise NotReady("the service is starting up or draining: wait for /v2/health/ready")


def services(request: Request) -> Services:
    """Return the services, for routes that answer at any time."""
    found: Services = request.app.state.services
    return found


def accepting_services(request: Request) -> Services:
    """Return the services, for routes that need loaded versions. Raises `NotReady`."""
    found = services(request)
    found.check_accepting()
    return found


# Coroutines, because the framework would run plain functions in a thread.
async def _live_services(request: Request) -> Services:
    return services(request)


async def _ready(request: Request) -> Services:
    return accepting_services(request)


LiveServices = Annotated[Services, Depends(_live_services)]
ReadyServices = Annotated[Services, Depends(_ready)]
