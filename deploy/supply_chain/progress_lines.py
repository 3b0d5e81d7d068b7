"""Runs a long command with a few lines of progress: `python -m deploy.supply_chain.progress_lines`.

pip prints hundreds of lines, or nothing for minutes. This prints what it is doing every few
seconds, with the time since the start, and keeps the whole output in a file. When the command
fails, its last lines follow. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

EVERY_SECONDS = 5.0
SHOWN_AFTER_FAILURE = 30
_WIDTH = 100


def run(
    command: Sequence[str],
    title: str,
    log: Path,
    every: float = EVERY_SECONDS,
    *,
    may_fail: bool = False,
) -> int:
    """Run the command, show `title` and its progress on stdout, and return its exit status.

    Its output is appended to `log`. A line is printed every `every` seconds. With `may_fail`, a
    failure is left to the caller to explain.
    """
    began = time.monotonic()
    last: deque[str] = deque(maxlen=SHOWN_AFTER_FAILURE)
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(every):
            doing = last[-1].strip()[:_WIDTH] if last else "working"
            print(f"  {time.monotonic() - began:4.0f} s  {doing}", flush=True)

    print(title, flush=True)
    reporter = threading.Thread(target=report, daemon=True)
    with (
        log.open("a", encoding="utf-8") as kept,
        subprocess.Popen(  # noqa: S603  the Makefile's own command
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        reporter.start()
        for line in process.stdout:
            kept.write(line)
            # A warning is in the log; it is not what the command is doing.
            if line.strip() and not line.startswith("WARNING"):
                last.append(line.rstrip())
    ended.set()
    reporter.join()
    if process.returncode and may_fail:
        return process.returncode
    if process.returncode:
        print("\n".join(last))
        print(f"failed: {' '.join(command)}\nthe whole output is in {log}", flush=True)
    else:
        print(f"  {time.monotonic() - began:4.0f} s  done", flush=True)
    return process.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--title", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--every", type=float, default=EVERY_SECONDS)
    parser.add_argument("--may-fail", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("there is no command")
    return run(command, given.title, given.log, given.every, may_fail=given.may_fail)


if __name__ == "__main__":
    sys.exit(main())
