"""A process whose lines all go one way, whoever writes them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

from service.observability.log_format import TextFormatter
from service.observability.logging_setup import hide_addresses

PROGRAM = """
import logging, sys, threading, warnings
from service.observability.logging_setup import configure_logging
from service.settings.telemetry import LogSettings
configure_logging(LogSettings(format="{format}", level="{level}"))
logging.getLogger("uvicorn.error").info("from the server")
logging.getLogger("httpx").info("https://user:secret@host/")
logging.getLogger("service.x").debug("details")
logging.getLogger("service.x").warning("two\\nlines")
warnings.warn("a warning")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def lines(form, level):
    program = PROGRAM.format(format=form, level=level)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()


def test_every_line_of_the_process_is_json():
    """The server's, a library's, a warning, a thread's and the process's own failure."""
    events = [json.loads(line) for line in lines("json", "info")]

    assert [
        ("uvicorn.error", "info"),
        ("service.x", "warning"),
        ("py.warnings", "warning"),
        ("service.observability.logging_setup", "critical"),
        ("service.observability.logging_setup", "critical"),
    ] == [(event["logger"], event["level"]) for event in events]
    assert all(event["time"].endswith("Z") for event in events)
    assert "ZeroDivisionError" in events[3]["exception"]
    assert "the end" in events[4]["exception"]


def test_an_address_in_a_librarys_warning_loses_its_secrets():
    error = ConnectionError("https://user:secret@host/?key=secret")
    record = logging.LogRecord(
        "opentelemetry.x", logging.WARNING, "f.py", 1, "", ("no host",), (type(error), error, None)
    )
    record.msg = "%s: https://user:secret@host:1/path?key=secret (Caused by '/p?key=secret')"

    assert hide_addresses(record)
    assert (
        "no host: https://…@host:1/path?… (Caused by '/p?…') (ConnectionError)"
        == TextFormatter().format(record).partition("opentelemetry.x: ")[2]
    )


def test_json_is_utf_8_whatever_the_terminal_is():
    program = (
        "import logging\n"
        "from service.observability.logging_setup import configure_logging\n"
        "from service.settings.telemetry import LogSettings\n"
        "configure_logging(LogSettings(format='json'))\n"
        "logging.warning('na\\u00efve')\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment
    )

    assert "naïve" == json.loads(done.stderr)["message"]


def test_the_level_decides_what_is_written():
    assert any("details" in line for line in lines("text", "debug"))
    assert not any("server" in line for line in lines("text", "warning"))


def test_a_library_does_not_write_addresses():
    """They may hold a password."""
    assert not any("secret" in line for line in lines("text", "debug"))
