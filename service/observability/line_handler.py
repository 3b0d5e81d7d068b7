"""A log handler that never waits: a thread of its own writes the lines."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import threading

MAX_WAITING = 10_000
"""Lines that wait for a reader. Beyond that, new ones are dropped and counted."""

CLOSE_SECONDS = 1.0
"""How long the end of the process waits for a reader."""


class LineHandler(logging.Handler):
    """Writes formatted lines to a file descriptor, in the order of the calls.

    Whoever reads standard error may stall, such as a terminal that is stopped or a full pipe
    of a log collector. A handler that writes where it is called would then stop the event
    loop, and with it every request. `encoding` is that of the descriptor.
    """

    def __init__(self, descriptor: int, encoding: str, max_waiting: int = MAX_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._lines: queue.Queue[str | None] = queue.Queue(max_waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record here, where the request is known, and leave the rest to the thread."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001  as every handler of the library
            self.handleError(record)

    def close(self) -> None:
        """Write what waits. A reader that stalls is waited for twice `CLOSE_SECONDS` at most."""
        atexit.unregister(self.close)
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=CLOSE_SECONDS)
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._dropped and self._lines.empty():
                self._report_dropped()
        if self._dropped:
            self._report_dropped()

    def _report_dropped(self) -> None:
        count, self._dropped = self._dropped, 0
        message = "%d log lines were dropped, because nobody read standard error"
        self._write(
            self.format(
                logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, (count,), None)
            )
        )

    def _write(self, line: str) -> None:
        rest = f"{line}\n".encode(self._encoding, "backslashreplace")
        # Without a reader the line is lost; the next one may have a reader again.
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
