"""The objects that routes use, composed in `app.py` and stored on `app.state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.api.access.authenticator import Authenticator
from service.api.console.timeline import Timeline
from service.api.edge import Edge
from service.fleet.identity import FleetIdentity
from service.inference.registry import Registry
from service.metrics import Metrics
from service.prediction.dispatch import Dispatch
from service.rollout.controller.controller import Controller


@dataclass(kw_only=True)
class Services(Edge):
    """The parts of one service, in the process that has its sessions and its engines."""

    fleet: FleetIdentity
    metrics: Metrics
    registry: Registry
    dispatch: Dispatch
    controller: Controller
    authenticator: Authenticator
    timeline: Timeline


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
