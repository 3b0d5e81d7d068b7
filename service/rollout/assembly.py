"""Builds the parts of the rollout that depend on where it is stored.

Without `rollout.url` the rollout belongs to this process: a SQLite file, and the process's own
counters. With it, the rollout belongs to a fleet: PostgreSQL, its clock, and the counts of all
replicas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from service.clock import Clock
from service.fleet.identity import FleetIdentity
from service.metrics import Metrics
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_reporter import EvidenceReporter
from service.rollout.analysis.sources.evidence_source import EvidenceSource
from service.rollout.analysis.sources.fleet_source import FleetSource
from service.rollout.analysis.sources.prometheus_api import prometheus_tls
from service.rollout.analysis.sources.prometheus_source import PrometheusSource
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.rollout.controller.fleet_member import FleetParts
from service.rollout.controller.store_clock import StoreClock
from service.rollout.storage.database import Database
from service.rollout.storage.delivery_cursor import DeliveryCursor
from service.rollout.storage.postgres.address import parse_address
from service.rollout.storage.rollout_store import RolloutStore
from service.rollout.storage.sqlite_cursor import SqliteDeliveryCursor
from service.rollout.storage.sqlite_store import SqliteRolloutStore
from service.rollout.storage.threaded_store import ThreadedRolloutStore
from service.rollout_metrics import FleetMetrics
from service.settings import RolloutSettings, Settings
from service.settings.loader import ConfigurationError


@dataclass(frozen=True, slots=True)
class RolloutParts:
    """What the controller and the webhooks are built from.

    `take_shadow_stats` is None where the evidence source counts shadow copies itself.
    """

    store: RolloutStore
    cursor: DeliveryCursor
    evidence: EvidenceSource
    clock: Clock
    take_shadow_stats: Callable[[], ShadowStats] | None
    fleet: FleetParts | None = None


def assemble(
    settings: Settings,
    identity: FleetIdentity,
    metrics: Metrics,
    clock: Clock,
    take_shadow_stats: Callable[[], ShadowStats],
) -> RolloutParts:
    """The parts for these settings. Nothing is opened yet.

    Raises `ConfigurationError`, and `StoreError` for a URL that cannot be used.
    """
    if settings.rollout.url is not None:
        return _fleet_parts(settings, identity, metrics, clock, take_shadow_stats)
    database = Database(settings.rollout.database)
    return RolloutParts(
        ThreadedRolloutStore(SqliteRolloutStore(database)),
        SqliteDeliveryCursor(database),
        evidence_source(settings.rollout, metrics),
        clock,
        take_shadow_stats,
    )


def _fleet_parts(
    settings: Settings,
    identity: FleetIdentity,
    metrics: Metrics,
    clock: Clock,
    take_shadow_stats: Callable[[], ShadowStats],
) -> RolloutParts:
    try:
        from service.rollout.storage.postgres.database import PostgresDatabase  # noqa: PLC0415
        from service.rollout.storage.postgres.delivery_cursor import (  # noqa: PLC0415
            PostgresDeliveryCursor,
        )
        from service.rollout.storage.postgres.fleet_store import PostgresFleetStore  # noqa: PLC0415
        from service.rollout.storage.postgres.rollout_store import (  # noqa: PLC0415
            PostgresRolloutStore,
        )
    except ImportError as error:
        raise ConfigurationError(
            [f"rollout.url needs the package {error.name}: pip install 'nextvec[fleet]'"]
        ) from error
    url, password = settings.rollout.url, settings.rollout.password
    assert url is not None
    address = parse_address(
        url.get_secret_value(), None if password is None else password.get_secret_value()
    )
    database = PostgresDatabase(address, identity.name, identity.replica)
    shared = PostgresRolloutStore(database, identity.boot)
    store = PostgresFleetStore(database, identity, f"the model {settings.model}")
    prometheus = _prometheus(settings.rollout, metrics)
    reporter = EvidenceReporter(
        RegistrySource(metrics), take_shadow_stats if prometheus is None else None
    )
    fleet = FleetParts(
        identity, store, shared, StoreClock(clock), reporter, FleetMetrics(metrics.registry)
    )
    evidence = prometheus or FleetSource(
        reporter,
        lambda report: store.put_evidence(identity.boot, report),
        store.evidence,
    )
    return RolloutParts(
        shared,
        PostgresDeliveryCursor(database),
        evidence,
        fleet.clock,
        None if prometheus is None else take_shadow_stats,
        fleet,
    )


def check_database(rollout: RolloutSettings) -> None:
    """Raise `ConfigurationError` or `StoreError` if `rollout.url` cannot be used, without a
    connection."""
    if rollout.url is None:
        return
    if find_spec("asyncpg") is None:
        raise ConfigurationError(["rollout.url needs asyncpg: pip install 'nextvec[fleet]'"])
    password = rollout.password
    parse_address(
        rollout.url.get_secret_value(), None if password is None else password.get_secret_value()
    )


def evidence_source(rollout: RolloutSettings, metrics: Metrics) -> EvidenceSource:
    """The source of a service without a fleet. Raises `ConfigurationError`."""
    return _prometheus(rollout, metrics) or RegistrySource(metrics)


def _prometheus(rollout: RolloutSettings, metrics: Metrics) -> PrometheusSource | None:
    if rollout.prometheus_url is None:
        return None
    token = rollout.prometheus_token
    return PrometheusSource(
        rollout.prometheus_url.get_secret_value(),
        metrics.edges,
        matchers=rollout.prometheus_matchers,
        token=None if token is None else token.get_secret_value(),
        tls=prometheus_tls(rollout),
    )
