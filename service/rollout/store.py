"""The rollout's record and audit log in one SQLite file: both change, or neither does."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.errors import NextvecError
from service.rollout.asking import Answered, Call
from service.rollout.events import Transition
from service.rollout.evidence import Snapshot
from service.rollout.gate import Miss
from service.rollout.guardrails.suite import Evidence
from service.rollout.rollout import Rollout

CALLS_KEPT = 1000
"""Answers kept under idempotency keys; the oldest go."""

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
    # Schema 1 had one test. What it had seen does not fit the tests of today: it is
    # dropped, and with it a pass that the step had; where the rollout stands is kept.
    """UPDATE state SET record = json_set(json_remove(record, '$.test', '$.snapshot',
    '$.looked_at'), '$.rollout.passed', json('false')) WHERE json_valid(record)""",
)

_SCHEMAS = (_TABLES, _RESET, _CALLS)
"""What each schema adds to the one before it."""

SCHEMA = len(_SCHEMAS)


class StoreError(NextvecError):
    """The file cannot be opened or written as things are; its contents may be sound."""

    code = "store"


class StoreUnreadable(StoreError):
    """The file's contents are not a record of this service."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that a restart needs. `looked_at`: when `snapshot` was taken, epoch seconds."""

    rollout: Rollout
    evidence: Evidence | None = None
    snapshot: Snapshot | None = None
    looked_at: float | None = None


_RECORD = TypeAdapter(Record)

AuditRow = dict[str, object]


def audit_row(
    transition: Transition, evidence: Sequence[AuditRow], missed: Sequence[Miss] = ()
) -> AuditRow:
    """A transition as the audit log keeps it, with the guardrails as they stood and the
    gate's figures that were overridden."""
    return {
        "at": transition.at,
        "generation": transition.generation,
        "actor": transition.actor,
        "reason": transition.reason.value,
        "note": transition.note,
        "from": transition.source.value,
        "to": transition.target.value,
        "step": transition.step,
        "weight_percent": transition.weight_bp / 100,
        "stable": transition.stable,
        "canary": transition.canary,
        "message": transition.message,
        "evidence": list(evidence) or None,
        "gate_missed": [miss.to_json() for miss in missed] or None,
    }


class Store:
    """One connection, held for the process's lifetime. Calls block: use a thread.

    The file is locked while it is open, so that no second service can move the
    same rollout; the operating system lets go of it when the process dies.
    """

    def __init__(self, path: Path, wait_seconds: float = 5.0) -> None:
        """`wait_seconds`: for another process that is just letting go of the file."""
        self.path = path
        self._wait = wait_seconds
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def load(self) -> Record | None:
        """The last record saved; None in a new file.

        Raises `StoreUnreadable` for contents that are damaged or of another
        schema, `StoreError` where the file cannot be opened or is in use.
        """
        with self._lock, self._errors():
            found = self._open().execute("SELECT record FROM state WHERE id = 1").fetchone()
        if found is None:
            return None
        try:
            return _RECORD.validate_json(found[0], strict=True)
        except ValidationError as error:
            what = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in what["loc"])
            raise StoreUnreadable(f"{self.path}: the record's {field}: {what['msg']}") from error

    def save(
        self, record: Record, audit: Sequence[AuditRow] = (), answers: Sequence[Answered] = ()
    ) -> None:
        """Replace the record, append to the log and keep answers, in one transaction on the disk.

        Raises `StoreError`; then nothing has changed.
        """
        text = _RECORD.dump_json(record).decode()
        rows = [(_json(row),) for row in audit]
        calls = [(a.call.actor, a.call.key, a.call.fingerprint, _json(a.answer)) for a in answers]
        with self._lock, self._errors():
            connection = self._open()
            with _transaction(connection):
                connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (text,))
                connection.executemany("INSERT INTO audit (row) VALUES (?)", rows)
                connection.executemany(
                    "INSERT OR REPLACE INTO calls (actor, key, fingerprint, answer) "
                    "VALUES (?, ?, ?, ?)",
                    calls,
                )
                connection.execute(
                    "DELETE FROM calls WHERE id <= (SELECT max(id) FROM calls) - ?", (CALLS_KEPT,)
                )

    def answered(self, actor: str, key: str) -> Answered | None:
        """What was answered under this key, if it is still kept."""
        with self._lock, self._errors():
            found = (
                self._open()
                .execute(
                    "SELECT fingerprint, answer FROM calls WHERE actor = ? AND key = ?",
                    (actor, key),
                )
                .fetchone()
            )
        return found and Answered(Call(actor, key, found[0]), json.loads(found[1]))

    def history(self, limit: int) -> list[AuditRow]:
        """The last `limit` lines of the audit log, newest first."""
        with self._lock, self._errors():
            found = self._open().execute(
                "SELECT id, row FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [{"id": number, **json.loads(row)} for number, row in found]

    def set_aside(self) -> Path:
        """Move an unreadable file out of the way, keeping it; answers where to."""
        self.close()
        number = 1
        while (kept := self._beside(f".unreadable-{number}")).exists():
            number += 1
        try:
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self._beside(suffix).rename(f"{kept}{suffix}")
            self.path.rename(kept)
        except OSError as error:
            raise StoreError(
                f"{self.path} is unreadable and cannot be moved aside ({error.strerror}); "
                "move it yourself or set NEXTVEC_ROLLOUT__DATABASE to another path"
            ) from error
        return kept

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _beside(self, suffix: str) -> Path:
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
        """SQLite's errors in the service's words: damage apart from everything else."""
        try:
            yield
        except sqlite3.Error as error:
            # Another extended code may sit in the upper bits.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise StoreUnreadable(f"{self.path}: {error}") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError(
                    f"{self.path} is in use by another process; stop that one, "
                    "or set NEXTVEC_ROLLOUT__DATABASE to another path"
                ) from error
            raise StoreError(
                f"{self.path}: {error}; check that the path can be written and the disk has room"
            ) from error


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version > SCHEMA or (version == 0 and tables):
            raise StoreUnreadable(f"{path}: schema {version}; this service reads {SCHEMA}")
        if 0 < version < SCHEMA:
            log.warning("%s is of an older service: weight and history stay", path)
        for statements in _SCHEMAS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
