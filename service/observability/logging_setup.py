"""Sends every log line of the process, the server's and the libraries' too, one way."""

from __future__ import annotations

import logging
import re
import sys
import threading
from types import TracebackType

from service.observability.line_handler import LineHandler
from service.observability.log_format import JsonFormatter, TextFormatter
from service.settings.telemetry import LogSettings
from service.settings.urls import hide_user_info

logger = logging.getLogger(__name__)

QUIET = ("httpx", "httpcore", "opentelemetry", "urllib3")
"""Libraries that log addresses or every connection below WARNING. An address may be a secret."""


_QUERY = re.compile(r"\?[^\s)'\"]+")

_REPLACED = (logging.StreamHandler, LineHandler)


def configure_logging(settings: LogSettings) -> None:
    """Make all loggers write to standard error, in one format and from one level."""
    is_json = settings.format == "json"
    # JSON is UTF-8, whatever the terminal's encoding is.
    encoding = "utf-8" if is_json else (sys.stderr.encoding or "utf-8")
    handler = LineHandler(sys.stderr.fileno(), encoding)
    handler.addFilter(hide_addresses)
    handler.setFormatter(JsonFormatter() if is_json else TextFormatter())
    root = logging.getLogger()
    # Handlers of other kinds belong to whoever runs the service within a program.
    for each in [each for each in root.handlers if type(each) in _REPLACED]:
        root.removeHandler(each)
        each.close()
    root.addHandler(handler)
    level = logging.getLevelName(settings.level.upper())
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
        server.setLevel(logging.NOTSET)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    # Otherwise the interpreter prints these in a format of its own.
    threading.excepthook = _log_thread_failure
    sys.excepthook = _log_failure


def hide_addresses(record: logging.LogRecord) -> bool:
    """Remove the user info and the query of addresses in a library's line; it is a filter.

    Tracebacks quote addresses too, so only the error's type stays.
    """
    if record.name.partition(".")[0] in QUIET:
        text = _QUERY.sub("?…", hide_user_info(record.getMessage()))
        if record.exc_info and record.exc_info[0] is not None:
            text += f" ({record.exc_info[0].__name__})"
        record.msg, record.args, record.exc_info = text, (), None
        record.exc_text = record.stack_info = None
    return True


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread is not None else "?"
    if failure.exc_value is not None:
        logger.critical("the thread %s failed", name, exc_info=failure.exc_value)


def _log_failure(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("the process failed", exc_info=(kind, error, trace))
