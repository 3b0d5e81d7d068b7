"""What the framework's application consists of: its routes and its middleware."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from service.api import console
from service.api.body_limits import BodyBudget, BodyLimitMiddleware
from service.api.methods import MethodsMiddleware
from service.api.openapi.document import describe
from service.api.parameters import check_request
from service.api.request_context import RequestContextMiddleware
from service.api.root_path import RootPathMiddleware
from service.api.routes import (
    admin,
    console_data,
    feedback,
    health,
    login,
    model_repository,
    open_inference,
    predict,
    sessions,
    start_page,
    steps,
)
from service.observability.access_log import AccessLog
from service.observability.tracing import TraceRecorder
from service.settings import Settings

EXPOSED_HEADERS = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "X-Model-Version",
    "X-Request-Id",
    "X-Role",
    "X-Variant",
)
"""Response headers that pages of other origins may read."""


def add_routes(app: FastAPI) -> None:
    """Add the routes and their OpenAPI description."""
    app.router.routes.extend(_routes())
    describe(app)
    app.router.redirect_slashes = False  # a redirect would lose a proxy's scheme and prefix


@cache
def _routes() -> list[BaseRoute]:
    """The routes of every application. They hold no state, and are slow to build."""
    every = APIRouter(dependencies=[Depends(check_request)])
    for module in (
        predict,
        sessions,
        steps,
        feedback,
        open_inference,
        model_repository,
        admin,
        login,
        console_data,
        console,
        start_page,
        health,
    ):
        every.include_router(module.router)
    return every.routes


def add_middleware(
    app: FastAPI,
    settings: Settings,
    bodies: BodyBudget,
    access_log: AccessLog,
    traces: TraceRecorder,
) -> None:
    """Add what every request goes through; the last one that is added is the outermost."""
    app.add_middleware(BodyLimitMiddleware, bodies=bodies)
    app.add_middleware(MethodsMiddleware, routes=app.router.routes)
    if settings.http.root_path is not None:
        app.add_middleware(RootPathMiddleware, root_path=settings.http.root_path)
    # The outermost: every response gets an id.
    app.add_middleware(RequestContextMiddleware, access_log=access_log, traces=traces)
    if settings.http.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.http.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
