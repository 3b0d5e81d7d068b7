"""The sessions of a fleet, from the settings: one client for the store and for labels."""

from __future__ import annotations

import ssl

from service.clock import Clock
from service.contexts.redis_store.enlistment import FleetEnlistment
from service.contexts.redis_store.session_calls import SessionCalls, SessionForm
from service.contexts.redis_store.store import RedisSessionStore
from service.errors import StoreUnusable
from service.fleet.identity import FleetIdentity
from service.http_clients import tls_context
from service.metrics import Metrics
from service.quality.redis_prediction_store import RedisPredictionStore
from service.redis.address import RedisAddress
from service.redis.client import RedisClient
from service.redis.library import load_library
from service.session_metrics import SessionStoreMetrics
from service.settings import SessionSettings


class SharedSessions:
    """Composes the shared store. Raises `StoreUnusable` for certificates that cannot be read."""

    def __init__(
        self, settings: SessionSettings, identity: FleetIdentity, clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._metrics = SessionStoreMetrics(metrics.registry)
        self.client = RedisClient(
            redis_address(settings),
            load_library(),
            timeout_seconds=settings.store_timeout_seconds,
            name=f"nextvec-{identity.replica}",
            observe=self._metrics.observe,
            on_failure=self._metrics.count_failure,
        )

    async def connect(self) -> None:
        """Connect. Raises `StoreUnavailable` or `StoreUnusable`."""
        await self.client.start()

    def make_prediction_store(self, ttl_seconds: float) -> RedisPredictionStore:
        """Where predictions wait for their labels."""
        return RedisPredictionStore(self.client, self._identity.name, ttl_seconds)

    async def open_store(
        self, model: str, dim: int, rollout: str | None = None
    ) -> RedisSessionStore:
        """The store of sessions of vectors with `dim` values, for `model`.

        `rollout` names the database of the fleet's rollout, if it has one. Raises
        `StoreUnusable` if another fleet has the name of this one.
        """
        kept, name = self._settings, self._identity.name
        serves = f"{model} with vectors of {dim} values"
        enlistment = FleetEnlistment(self.client, name, serves, rollout)
        await enlistment.start()
        form = SessionForm(kept.ttl_seconds, kept.history_vectors, dim, kept.compact_history)
        return RedisSessionStore(
            SessionCalls(self.client, form, name, self._identity.replica),
            enlistment,
            self._clock,
            self._metrics,
            max_bytes=kept.max_bytes,
            max_backlog=kept.backlog_vectors,
            wait_for_store=kept.durability == "sync",
            serve_without_store=kept.when_store_down == "serve",
        )


def redis_address(settings: SessionSettings) -> RedisAddress:
    """Where the settings say that the server is. Raises `StoreUnusable`."""
    url = settings.url
    assert url is not None
    user, password = url.credentials or ("", "")
    if settings.password is not None:
        password = settings.password.get_secret_value()
    if url.socket_path is not None:
        return RedisAddress(
            url.address, path=url.socket_path, database=url.database, password=password
        )
    return RedisAddress(
        url.address, url.host, url.port, None, url.database, user, password, _tls(settings)
    )


def _tls(settings: SessionSettings) -> ssl.SSLContext | None:
    if settings.url is None or not settings.url.is_encrypted:
        return None
    try:
        return tls_context(settings.ca, settings.certificate, settings.key)
    except (OSError, ValueError) as error:
        raise StoreUnusable(f"the certificates of sessions.url cannot be used: {error}") from error
