"""Ends `nextvec serve` on SIGTERM or SIGHUP while it still starts.

In a container the service is process 1, and the kernel drops signals for which process 1 has
no handler. The import of this module installs one for `serve`, before the imports that take
most of the time; `nextvec serve` replaces it once it listens.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence


def end_at_once(number: int, _frame: object) -> None:
    """End the process. Nothing has been served yet, and the database survives any end."""
    os.write(2, b"nextvec serve: stopped by signal %d before it was ready\n" % number)
    os._exit(0)


def install(arguments: Sequence[str]) -> None:
    """Install the handler if `arguments` begin with `serve`."""
    if list(arguments[:1]) == ["serve"]:
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), end_at_once)


install(sys.argv[1:])
