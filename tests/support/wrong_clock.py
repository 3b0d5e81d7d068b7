"""`nextvec` on a machine whose clock is wrong, by the seconds in the file that WRONG_CLOCK names.

The file may be written while the service runs: the clock then jumps. The monotonic clock is right,
as it is on a real machine.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from service.cli import main


def go_wrong(file: Path) -> None:
    right = time.time

    def wrong() -> float:
        return right() + float(file.read_text(encoding="utf-8"))

    time.time = wrong
    time.time_ns = lambda: int(wrong() * 1e9)


if __name__ == "__main__":
    go_wrong(Path(os.environ["WRONG_CLOCK"]))
    sys.exit(main())
