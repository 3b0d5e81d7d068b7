"""What the routes work with, composed in `app.py` and handed over on `app.state`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from service.api.body_limits import BodyBudget
from service.errors import NotReady
from service.inference.registry import Registry
from service.metrics import Metrics
from service.prediction.dispatch import Dispatch
from service.rollout.controller.controller import Controller
from service.settings import Settings


@dataclass
class Services:
    """One service's collaborators. `accepting` is false before warm-up and while draining;
    `parsing` is held for a body whose parsing may take much memory."""

    settings: Settings
    metrics: Metrics
    registry: Registry
    dispatch: Dispatch
    controller: Controller
    bodies: BodyBudget
    dim: int = 0
    accepting: bool = field(default=False)
    parsing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def check_accepting(self) -> None:
        """Raise `NotReady` while it is not."""
        if not self.accepting:
            raise NotReady("starting up or draining: ask /v2/health/ready")


def services(request: Request) -> Services:
    """For routes that answer at any time."""
    found: Services = request.app.state.services
    return found


def accepting_services(request: Request) -> Services:
    """For routes that need versions loaded. Raises `NotReady`."""
    found = services(request)
    found.check_accepting()
    return found


# Coroutines, though they await nothing: the framework runs plain functions in a thread.
async def _live(request: Request) -> Services:
    return services(request)


async def _ready(request: Request) -> Services:
    return accepting_services(request)


LiveServices = Annotated[Services, Depends(_live)]
ReadyServices = Annotated[Services, Depends(_ready)]
