"""The SQLite file of the rollout: one connection, one lock, one schema."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.rollout.storage.errors import StoreError, StoreUnreadable

log = logging.getLogger(__name__)

_TABLES = (
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL)",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, row TEXT NOT NULL)",
    """CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)
_CALLS = (
    """CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT, actor TEXT NOT NULL,
    key TEXT NOT NULL, fingerprint TEXT NOT NULL, answer TEXT NOT NULL, UNIQUE (actor, key))""",
)

_RESET = (
    # Schema 1 had one guardrail. Its evidence does not fit the guardrails of today, so it is
    # dropped, and with it the pass of the current step. The rollout's state is kept.
    """UPDATE state SET record = json_set(json_remove(record, '$.test', '$.snapshot',
    '$.looked_at'), '$.rollout.passed', json('false')) WHERE json_valid(record)""",
)

_WEBHOOKS = ("CREATE TABLE webhooks (name TEXT PRIMARY KEY, told INTEGER NOT NULL)",)

_PERMIT = ("ALTER TABLE state ADD COLUMN permit TEXT",)

_SCHEMAS = (_TABLES, _RESET, _CALLS, _WEBHOOKS, _PERMIT)
"""What each schema version adds to the one before it."""

SCHEMA = len(_SCHEMAS)


class Database:
    """One connection for the lifetime of the process. Calls block: use a thread.

    The file is locked while it is open, so no second service can change the same rollout. The
    operating system releases the lock when the process dies.
    """

    def __init__(self, path: Path, wait_seconds: float = 5.0) -> None:
        """`wait_seconds`: how long to wait for another process to release the file."""
        self.path = path
        self._wait = wait_seconds
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time.

        Raises `StoreUnreadable` if the contents are damaged or have another schema, and
        `StoreError` if the file cannot be opened or is in use.
        """
        with self._lock, self._errors():
            yield self._open()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The same in a durable transaction: all of the block is stored, or nothing."""
        with self.reading() as connection, _transaction(connection):
            yield connection

    def set_aside(self) -> Path:
        """Rename an unreadable file and return its new path."""
        self.close()
        number = 1
        while (kept := self._sibling(f".unreadable-{number}")).exists():
            number += 1
        try:
            # The file before its log: without the log it could be read as an older record.
            self.path.rename(kept)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self._sibling(suffix).rename(f"{kept}{suffix}")
        except OSError as error:
            raise StoreError(
                f"{self.path} is unreadable and cannot be renamed ({error.strerror}); "
                "move it yourself or set NEXTVEC_ROLLOUT__DATABASE to another path"
            ) from error
        return kept

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _sibling(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self.path.parent}: {error.strerror}") from error
            connection = sqlite3.connect(
                self.path, timeout=self._wait, isolation_level=None, check_same_thread=False
            )
            try:
                _set_up(connection, self.path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate SQLite's errors, and tell damage from other problems."""
        try:
            yield
        except sqlite3.Error as error:
            # The upper bits may have an extended code.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise StoreUnreadable(f"{self.path}: {error}") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError(
                    f"{self.path} is in use by another process; stop that process "
                    "or set NEXTVEC_ROLLOUT__DATABASE to another path"
                ) from error
            raise StoreError(
                f"{self.path}: {error}; check that the path is writable and the disk has space"
            ) from error


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version > SCHEMA or (version == 0 and tables):
            raise StoreUnreadable(f"{path} has schema {version}, not {SCHEMA}")
        if 0 < version < SCHEMA:
            log.warning("%s was written by an older version; weight and history are kept", path)
        for statements in _SCHEMAS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
