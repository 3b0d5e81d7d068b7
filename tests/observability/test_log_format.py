"""Log lines: one an event, in UTC, and text from callers cannot forge one."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability import request_scope
from service.observability.log_format import JsonFormatter, TextFormatter, escape, fields

FORGED = "x\n2026-01-01T00:00:00.000Z CRITICAL forged: y\r\x1b[31m\x00\x85\u2028\u202e\ud800"
FORMATTERS = [TextFormatter(), JsonFormatter()]
each_formatter = pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])


def record(message="hello %s", *arguments, name="service.test", extra=None, error=None):
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord(name, logging.WARNING, "f.py", 1, message, arguments or None, info)
    made.created = 1_700_000_000.25
    made.__dict__.update(extra or {})
    return made


def test_a_text_line_begins_with_the_time_in_utc_and_the_level():
    line = TextFormatter().format(record("hello %s", "you", extra=fields(count=3, path="/a b")))

    assert '2023-11-14T22:13:20.250Z WARNING service.test: hello you count=3 path="/a b"' == line


def test_a_json_line_is_one_object_with_time_level_and_message():
    line = json.loads(JsonFormatter().format(record("hello %s", "you", extra=fields(count=3))))

    assert {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "service.test",
        "message": "hello you",
        "count": 3,
    } == line


@each_formatter
def test_text_from_a_caller_stays_on_its_line(formatter):
    line = formatter.format(record(FORGED, extra=fields(text=FORGED)))

    assert line.isprintable()
    assert 1 == len(line.splitlines())


@given(st.text())
def test_escaped_text_is_one_line_without_control_characters(text):
    escaped = escape(text)

    assert 1 >= len(escaped.splitlines())
    assert not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", escaped)


def test_the_lines_of_a_traceback_cannot_be_taken_for_events():
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int(FORGED)
    failed = record("failed", error=raised.value)
    first, *rest = TextFormatter().format(failed).split("\n")

    assert first.endswith("service.test: failed")
    assert rest
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert "ValueError" in json.loads(JsonFormatter().format(failed))["exception"]


@each_formatter
def test_a_line_names_its_request_and_no_session_id(formatter):
    scope = {
        "request_id": "r-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "variant": "canary",
        "version": "phase-3",
        "session": "alice",
    }
    with request_scope.entered(scope):
        line = formatter.format(record("failed"))

    for value in ("r-1", "4bf92f3577b34da6a3ce929d0e0e4736", "canary", "phase-3"):
        assert value in line
    assert request_scope.session_hash("alice") in line
    assert "alice" not in line


@each_formatter
def test_a_line_fits_what_container_runtimes_keep_whole(formatter):
    """They split lines of 16 KiB."""
    with pytest.raises(ValueError, match="could not convert") as raised:
        float("y" * 50_000)
    line = formatter.format(
        record("\u2028" * 50_000, extra=fields(a="漢" * 50_000), error=raised.value)
    )

    assert all(len(part.encode()) < 16_384 for part in line.split("\n"))
    assert "could not convert" in line or "…" in line


@each_formatter
def test_a_wrong_log_call_loses_no_line(formatter):
    assert "3 of %d" in formatter.format(record("3 of %d", "x"))


def test_a_field_cannot_replace_time_or_level():
    line = json.loads(JsonFormatter().format(record("m", extra=fields(level="x", time="y"))))

    assert ("warning", "2023-11-14T22:13:20.250Z") == (line["level"], line["time"])
