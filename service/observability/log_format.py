"""The two formats of a log line: text for people, JSON for programs.

An event is one line. Text from callers cannot start another line or control a terminal:
control characters, line separators and characters that change the direction of writing
are escaped.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any

import orjson

from service.observability import request_scope

_FIELDS = "nextvec_fields"

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)

MAX_TEXT = 2048
"""Characters of a message and of a field. Container runtimes split lines of 16 KiB, and half a
JSON object is not an event."""

MAX_TRACEBACK = 6144
"""Characters of a traceback: the last ones, which name the error."""

_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_PLAIN_VALUE = re.compile(r"[^\s\"=]+\Z")


def fields(**values: object) -> dict[str, Any]:
    """Return the `extra` of a log call that adds these fields to the line.

    `log.warning("log-in failed", extra=fields(role="operator"))`.
    """
    return {_FIELDS: values}


def escape(text: str) -> str:
    """Return `text` with every character escaped that could forge a line or hide text.

    Text beyond `MAX_TEXT` characters is cut off.
    """
    escaped = _UNSAFE.sub(_escape_one, text[: MAX_TEXT + 1])
    if len(escaped) <= MAX_TEXT:
        return escaped
    return f"{escaped[:MAX_TEXT]}… ({len(text)} characters)"


def _escape_one(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    return _NAMED.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING service.api.errors: message key=value …`.

    The lines of a traceback follow, each with a bar in front.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line or lines of the record."""
        values = "".join(f" {name}={_quoted(value)}" for name, value in _values(record).items())
        line = (
            f"{_time(record)} {record.levelname} {escape(record.name)}: "
            f"{escape(_message(record))}{values}"
        )
        trace = _traceback(self, record)
        if trace is None:
            return line
        return "\n".join([line, *(f"  | {escape(part)}" for part in trace.split("\n"))])


class JsonFormatter(logging.Formatter):
    """One JSON object with `time`, `level`, `logger`, `message` and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of the record."""
        values = {name: _jsonable(value) for name, value in _values(record).items()}
        trace = _traceback(self, record)
        if trace is not None:
            values["exception"] = escape_lines(trace)
        # The fixed names come last, so that a field cannot overwrite them.
        line = {
            **values,
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": escape(record.name),
            "message": escape(_message(record)),
        }
        order = ("time", "level", "logger", "message")
        ordered = {name: line.pop(name) for name in order} | line
        return orjson.dumps(ordered).decode()


def escape_lines(text: str) -> str:
    """Return `text` escaped, except for its line ends, which JSON escapes."""
    return "\n".join(map(escape, text.split("\n")))


def _time(record: logging.LogRecord) -> str:
    shown = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  a wrong log call must not lose the line
        return f"{record.msg!s} {record.args!r}"


def _values(record: logging.LogRecord) -> dict[str, object]:
    """The current request's values, then the fields of the call."""
    scope = request_scope.current()
    found = {} if scope is None else request_scope.logged_values(scope)
    found |= getattr(record, _FIELDS, {})
    return found


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    parts = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    text = "\n".join(parts)
    if len(text) > MAX_TRACEBACK:
        text = f"…\n{text[-MAX_TRACEBACK:]}"
    return text or None


def _quoted(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = escape(str(value))
    if _PLAIN_VALUE.match(text):
        return text
    return '"' + text.replace('"', r"\"") + '"'


def _jsonable(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return value
    return escape(str(value))
