"""Progress of a long command: a bar or a spinner on a terminal, plain lines on stderr elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress, ProgressColumn, Task, TaskID

LINE_SECONDS = 5.0
"""Seconds between two lines."""


class ProgressLines:
    """Prints what a command is doing on stderr, a line every few seconds and none before that."""

    def __init__(
        self, every: float = LINE_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._every = every
        self._now = now
        self._due = now() + every

    def tell(self, text: Callable[[], str]) -> None:
        """Print the text if a line is due; it is not asked for otherwise."""
        if self._now() >= self._due:
            self._due = self._now() + self._every
            print(text(), file=sys.stderr, flush=True)


class ProgressBar(Progress):
    """A bar for each task on a terminal; elsewhere lines such as `parity: 30 of 200 (15 %)`."""

    def __init__(
        self,
        *columns: str | ProgressColumn,
        console: Console,
        transient: bool = False,
        lines: ProgressLines | None = None,
        get_time: Callable[[], float] | None = None,
    ) -> None:
        hidden = not console.is_terminal
        super().__init__(
            *columns, console=console, transient=transient, disable=hidden, get_time=get_time
        )
        self._lines = (lines or ProgressLines()) if hidden else None

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a task, as rich's `Progress.update` does."""
        super().update(task_id, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Add to what is done of a task."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        if self._lines is not None:
            self._lines.tell(lambda: progress_line(self._tasks[task_id]))


def progress_line(task: Task) -> str:
    """What is done of a task, and how long the rest takes at the speed so far."""
    if task.total is None:
        return f"{task.description}: {task.completed:g}"
    # Some totals are counts, and some are shares of 1.
    counts = f"{task.completed:,.0f} of {task.total:,.0f}, " if task.total > 1 else ""
    share = task.completed / task.total if task.total else 1.0
    left = ""
    if task.elapsed and share > 0:
        seconds = task.elapsed * (1 - share) / share
        left = f", {seconds:.0f} s left" if seconds < 100 else f", {seconds / 60:.0f} min left"
    return f"{task.description}: {counts}{100 * share:.0f} %{left}"


@contextmanager
def working(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Say that something without a known length goes on: `exporting phase-2`.

    On a terminal with a spinner, elsewhere with a line now and one every few seconds. Yields a
    function that changes the text.
    """
    if console.is_terminal:
        with console.status(what) as status:
            yield status.update
        return
    texts = [what]
    began = time.monotonic()
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(LINE_SECONDS):
            print(f"{texts[-1]}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    print(what, file=sys.stderr, flush=True)
    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield texts.append
    finally:
        ended.set()
        reporter.join()


class LiveView:
    """A view that is drawn again and again on a terminal; elsewhere a line every few seconds.

    On a terminal it disappears at the end.
    """

    def __init__(self, console: Console, lines: ProgressLines | None = None) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._lines = lines or ProgressLines()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(
        self, line: Callable[[], str], view: Callable[[], RenderableType] | None = None
    ) -> None:
        """Draw the view, by default the line, on a terminal. Elsewhere print the line, if due."""
        if self.console.is_terminal:
            self._live.update((view or line)(), refresh=True)
        else:
            self._lines.tell(line)
