"""The tables of the rollout in PostgreSQL, and how they came about."""

from __future__ import annotations

import logging
from typing import Any

from service.rollout.storage.postgres.connection import LastingError

log = logging.getLogger(__name__)

MINIMUM_SERVER = 13
"""The oldest major version of the server."""

_MIGRATION_LOCK = 0x6E_65_78_74_76_65_63
"""The key of the lock under which one replica creates the tables: "nextvec"."""

_TABLES = (
    """CREATE TABLE nextvec.state (
    fleet text PRIMARY KEY, revision bigint NOT NULL, record text NOT NULL,
    saved timestamptz NOT NULL DEFAULT clock_timestamp())""",
    """CREATE TABLE nextvec.audit (
    fleet text NOT NULL, id bigint NOT NULL, row text NOT NULL, PRIMARY KEY (fleet, id))""",
    """CREATE FUNCTION nextvec.keep_audit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$""",
    """CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON nextvec.audit
    FOR EACH STATEMENT EXECUTE FUNCTION nextvec.keep_audit()""",
    """CREATE TABLE nextvec.calls (
    fleet text NOT NULL, actor text NOT NULL, key text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    fingerprint text NOT NULL, answer text NOT NULL, PRIMARY KEY (fleet, actor, key))""",
    "CREATE INDEX calls_by_age ON nextvec.calls (fleet, number)",
    """CREATE TABLE nextvec.outbox (
    fleet text NOT NULL, webhook text NOT NULL, told bigint NOT NULL,
    PRIMARY KEY (fleet, webhook))""",
    """CREATE TABLE nextvec.lease (
    fleet text PRIMARY KEY, holder text NOT NULL, epoch bigint NOT NULL,
    expires timestamptz NOT NULL)""",
    """CREATE TABLE nextvec.replica (
    fleet text NOT NULL, boot text NOT NULL, id text NOT NULL, model text NOT NULL,
    began timestamptz NOT NULL, seen timestamptz NOT NULL, departed boolean NOT NULL,
    revision bigint NOT NULL, versions text NOT NULL, failure text NOT NULL,
    PRIMARY KEY (fleet, boot))""",
    """CREATE TABLE nextvec.evidence (
    fleet text NOT NULL, boot text NOT NULL, split text NOT NULL, counts text NOT NULL,
    at timestamptz NOT NULL, PRIMARY KEY (fleet, split, boot))""",
)

_SCHEMAS = (_TABLES,)
"""What each schema version adds to the one before it."""

SCHEMA = len(_SCHEMAS)


async def migrate(connection: Any, address: object) -> None:
    """Create or upgrade the tables, once for all replicas. `address` names the server.

    Raises `LastingError` for a server that is too old, and for tables of a newer nextvec.
    """
    server = connection.get_server_version()
    if server.major < MINIMUM_SERVER:
        raise LastingError(
            f"{address} is PostgreSQL {server.major}; nextvec needs {MINIMUM_SERVER} or newer"
        )
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        version = await _version(connection)
        if version > SCHEMA:
            raise LastingError(
                f"{address} has the tables of a newer nextvec (schema {version}; this one knows "
                f"up to {SCHEMA}): upgrade this replica, or use another database"
            )
        if 0 < version < SCHEMA:
            log.warning("%s has schema %d, and gets %d", address, version, SCHEMA)
        for statements in _SCHEMAS[version:]:
            for statement in statements:
                await connection.execute(statement)
        if version < SCHEMA:
            await connection.execute("DELETE FROM nextvec.schema_version")
            await connection.execute("INSERT INTO nextvec.schema_version VALUES ($1)", SCHEMA)


async def _version(connection: Any) -> int:
    """The version of the tables; 0 without tables."""
    if await connection.fetchval("SELECT to_regnamespace('nextvec') IS NULL"):
        await connection.execute("CREATE SCHEMA nextvec")
    if await connection.fetchval("SELECT to_regclass('nextvec.schema_version') IS NULL"):
        await connection.execute("CREATE TABLE nextvec.schema_version (version int NOT NULL)")
    return await connection.fetchval("SELECT max(version) FROM nextvec.schema_version") or 0
