"""The composition root: it builds the application from settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service.api import errors
from service.api.access.authenticator import Authenticator
from service.api.application import add_middleware, add_routes
from service.api.body_limits import BodyBudget
from service.api.console.timeline import Timeline
from service.api.services import Services
from service.clock import Clock, SystemClock
from service.contexts.memory_store import MemorySessionStore
from service.contexts.prefix_cache import PrefixCache
from service.contexts.session_store import SessionStore
from service.errors import NotFound, StoreUnusable, VersionError
from service.fleet.identity import FleetIdentity, identify
from service.inference.engines.engine import Engine
from service.inference.engines.engine_factory import load_engine
from service.inference.registry import Registry
from service.inference.repository import Repository, VersionFiles
from service.inference.scheduling.scheduler import Scheduler
from service.metrics import Metrics, new_registry
from service.observability.access_log import AccessLog
from service.observability.trace_export import make_tracer
from service.observability.tracing import TraceRecorder
from service.prediction.dispatch import Dispatch
from service.prediction.shadow_runner import ShadowRunner
from service.quality.online_scorer import OnlineScorer
from service.quality.prediction_store import MemoryPredictionStore, PredictionStore
from service.rollout.analysis.sources.fleet_source import FleetSource
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.rollout.assembly import RolloutParts, assemble
from service.rollout.controller.controller import Controller
from service.rollout.notifications.outbox import Outbox
from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.plan_floor import make_floor
from service.rollout.routing.traffic_split import TrafficRouter, TrafficSplit
from service.settings import Settings
from service.types import Variant

if TYPE_CHECKING:
    from service.shared_sessions import SharedSessions

logger = logging.getLogger(__name__)

TIMELINE_SECONDS = 5.0
"""Seconds between two points of the console's charts; fewer if evaluations are more frequent."""

EngineFactory = Callable[[VersionFiles], Engine]


def create_app(
    settings: Settings, *, clock: Clock | None = None, make_engine: EngineFactory | None = None
) -> FastAPI:
    """Return the service for `settings`. Tests pass their own clock and engine.

    Versions are loaded when the application's lifespan begins. It raises `VersionError`,
    `NotFound` or `StoreError` when stable cannot be served.
    """
    clock = clock or SystemClock()
    metrics = Metrics(new_registry(), settings.limits.timeout_seconds)
    tracer, flush_traces = make_tracer(settings.tracing)
    traces = TraceRecorder(tracer)
    access_log = AccessLog(settings.log.access_share, clock.monotonic)
    bodies = BodyBudget(settings.limits)
    registry = Registry(
        Repository(settings.models, settings.model),
        make_engine or partial(load_engine, settings.engine),
        partial(_scheduler, settings, clock, metrics),
        settings.sessions.history_vectors,
        lambda loaded: metrics.show_versions(
            (found.manifest.version, found.provider, found.precision) for found in loaded
        ),
        settings.limits.timeout_seconds,
    )
    traffic = TrafficRouter(TrafficSplit(settings.stable))
    shadow = ShadowRunner(traffic, registry, metrics, clock, settings.limits.timeout_seconds)
    identity = _identity(settings)
    parts = assemble(settings, identity, metrics, clock, shadow.take)
    controller, outbox = _rollout(settings, parts, traffic, registry, metrics, traces)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        begun = parts.clock.time()
        shared = await _shared_sessions(settings, identity, clock, metrics)
        await controller.start()
        if parts.fleet is not None:
            begun = parts.clock.time()  # the store's clock, which is known now
        await outbox.start(begun)
        if settings.canary is not None:
            await _prepare_canary(registry, metrics, settings.canary)
        stable = registry.get(traffic.current.stable)
        metrics.expect([(Variant.STABLE, stable.manifest.version)])
        dim = stable.manifest.dimensions.dim
        session_store = await _session_store(settings, shared, clock, dim, parts)
        scorer = OnlineScorer(
            traffic, metrics, clock, dim, _prediction_store(settings, shared, clock)
        )
        dispatch = Dispatch(
            traffic,
            registry,
            session_store,
            metrics,
            clock,
            limits=settings.limits,
            prefixes=_prefix_cache(settings),
            scorer=scorer,
            shadow=shadow,
        )
        authenticator = Authenticator(settings, metrics, clock)
        services = Services(
            settings=settings,
            fleet=identity,
            metrics=metrics,
            registry=registry,
            dispatch=dispatch,
            predictor=dispatch,
            controller=controller,
            bodies=bodies,
            authenticator=authenticator,
            keys=authenticator.api_keys,
            versions=lambda: len(registry.loaded),
            check_version=registry.get,
            on_refusal=metrics.refused.inc,
            close_subscriptions=controller.close_subscriptions,
            access_log=access_log,
            tracing=traces,
            timeline=Timeline(
                RegistrySource(metrics),
                traffic,
                clock,
                min(TIMELINE_SECONDS, settings.rollout.interval_seconds),
            ),
            dim=dim,
        )
        app.state.services = services
        ticker = asyncio.create_task(controller.run(), name="rollout-ticker")
        background = [
            asyncio.create_task(scorer.run(), name="scoring"),
            asyncio.create_task(services.timeline.run(), name="timeline"),
        ]
        services.accepting = True
        try:
            yield
        finally:
            services.accepting = False
            services.parsing.close()
            await _close(shadow.close, outbox.close)
            await _cancel(background)
            await _close(controller.close)
            await asyncio.gather(ticker, return_exceptions=True)
            await _close(registry.close, session_store.close)
            await asyncio.to_thread(flush_traces)

    # The page at /docs includes its scripts, so that browsers need no internet access.
    app = FastAPIOffline(
        title="nextvec",
        version=installed_version("nextvec"),
        summary="Next-vector predictions from a stable and a canary version.",
        lifespan=lifespan,
    )
    errors.add_handlers(app)
    add_routes(app)
    add_middleware(app, settings, bodies, access_log, traces)
    return app


def _identity(settings: Settings) -> FleetIdentity:
    return identify(settings.fleet.name, settings.fleet.replica, settings.port)


async def _close(*closers: Callable[[], Awaitable[None]]) -> None:
    """Close all of them: the last one may still have to store what was answered."""
    for close in closers:
        try:
            await close()
        except Exception:
            logger.exception("a part of the service could not be closed")


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _prepare_canary(registry: Registry, metrics: Metrics, canary: str) -> None:
    """Load the canary. A canary that cannot be served must not keep stable from serving."""
    try:
        await registry.prepare(canary)
    except (NotFound, VersionError) as error:
        logger.error("the canary cannot be loaded; stable serves without it: %s", error)  # noqa: TRY400  an expected error; its message suffices
        return
    metrics.expect([(Variant.CANARY, canary)])


def _rollout(
    settings: Settings,
    parts: RolloutParts,
    traffic: TrafficRouter,
    registry: Registry,
    metrics: Metrics,
    traces: TraceRecorder,
) -> tuple[Controller, Outbox]:
    plan = load_plan(settings.rollout.plan)
    outbox = Outbox(
        settings.rollout.webhooks,
        parts.cursor,
        metrics,
        parts.clock,
        traces=traces,
        leads=lambda: controller.leads,
    )
    controller = Controller(
        traffic=traffic,
        versions=registry,
        evidence=parts.evidence,
        store=parts.store,
        metrics=metrics,
        clock=parts.clock,
        stable=settings.stable,
        plan=plan,
        floor=make_floor(settings.rollout.floor.model_dump(), plan),
        interval_seconds=settings.rollout.interval_seconds,
        on_record=outbox.wake,
        take_shadow_stats=parts.take_shadow_stats,
        traces=traces,
        fleet=parts.fleet,
        on_lead=outbox.take_over,
    )
    if isinstance(parts.evidence, FleetSource):
        parts.evidence.living = controller.living
    return controller, outbox


async def _session_store(
    settings: Settings,
    shared: SharedSessions | None,
    clock: Clock,
    dim: int,
    parts: RolloutParts,
) -> SessionStore:
    if shared is not None:
        rollout = None if parts.fleet is None else await parts.fleet.store.place()
        return await shared.open_store(settings.model, dim, rollout)
    kept = settings.sessions
    return MemorySessionStore(
        clock,
        max_bytes=kept.max_bytes,
        ttl_seconds=kept.ttl_seconds,
        history_vectors=kept.history_vectors,
        dim=dim,
        compact=kept.compact_history,
    )


async def _shared_sessions(
    settings: Settings, identity: FleetIdentity, clock: Clock, metrics: Metrics
) -> SharedSessions | None:
    """The connection to the server of sessions, if the settings name one.

    Raises `StoreUnavailable` or `StoreUnusable`.
    """
    if settings.sessions.url is None:
        return None
    if find_spec("hiredis") is None:
        raise StoreUnusable("sessions.url needs hiredis: pip install 'nextvec[fleet]'")
    # Not above: hiredis is not installed with every service.
    from service.shared_sessions import SharedSessions  # noqa: PLC0415

    shared = SharedSessions(settings.sessions, identity, clock, metrics)
    await shared.connect()
    return shared


def _prediction_store(
    settings: Settings, shared: SharedSessions | None, clock: Clock
) -> PredictionStore | None:
    kept = settings.feedback
    if not kept.max_bytes:
        return None
    if shared is not None:
        return shared.make_prediction_store(kept.ttl_seconds)
    return MemoryPredictionStore(clock, max_bytes=kept.max_bytes, ttl_seconds=kept.ttl_seconds)


def _prefix_cache(settings: Settings) -> PrefixCache | None:
    most = settings.prefix_cache.max_bytes
    return PrefixCache(most, settings.engine.prefill_chunk) if most else None


def _scheduler(
    settings: Settings, clock: Clock, metrics: Metrics, engine: Engine, version: str
) -> Scheduler:
    return Scheduler(
        engine,
        clock,
        max_batch=settings.engine.max_batch,
        prefill_chunk=settings.engine.prefill_chunk,
        queue_limit=settings.engine.queue_limit,
        patience=settings.limits.timeout_seconds,
        observe_batch=metrics.observe_batch(version),
        compact=settings.sessions.compact_history,
    )
