"""Progress: a bar on a terminal, plain lines on stderr elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn, TextColumn

from service.commands.progress import LiveView, ProgressBar, ProgressLines, working


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def lines(clock) -> ProgressLines:
    return ProgressLines(every=5, now=clock)


@pytest.fixture
def pipe() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def test_a_line_every_few_seconds_and_none_before(capsys, clock, lines):
    for second in range(12):
        clock.now = second
        lines.tell(lambda: f"at {clock.now} s")
    captured = capsys.readouterr()
    assert ["at 5 s", "at 10 s"] == captured.err.splitlines()
    assert "" == captured.out


@pytest.mark.parametrize(
    ("total", "done", "said"),
    [
        (2000, 500, "parity: 500 of 2,000, 25 %, 18 s left"),
        (1.0, 0.25, "parity: 25 %, 18 s left"),
        (None, 500, "parity: 500"),
    ],
)
def test_a_bar_is_a_line_in_a_pipe(capsys, clock, lines, pipe, total, done, said):
    with ProgressBar(
        TextColumn("x"), BarColumn(), console=pipe, lines=lines, get_time=clock
    ) as bar:
        task = bar.add_task("parity", total=total)
        clock.now = 6
        bar.update(task, completed=done)
        bar.update(task, completed=done)
    assert [said] == capsys.readouterr().err.splitlines()
    assert "" == pipe.file.getvalue()


def test_an_advance_is_told_too(capsys, clock, lines, pipe):
    with ProgressBar(console=pipe, lines=lines, get_time=clock) as bar:
        task = bar.add_task("rollouts", total=10)
        clock.now = 6
        bar.advance(task, 4)
    assert ["rollouts: 4 of 10, 40 %, 9 s left"] == capsys.readouterr().err.splitlines()


def test_a_terminal_gets_the_bar_alone(capsys, terminal):
    with ProgressBar(TextColumn("{task.description}"), BarColumn(), console=terminal) as bar:
        bar.update(bar.add_task("parity", total=10), completed=10)
    assert "parity" in terminal.file.getvalue()
    assert "" == capsys.readouterr().err


def test_a_view_is_a_line_in_a_pipe(capsys, clock, lines, pipe, terminal):
    with LiveView(pipe, lines) as live:
        clock.now = 6
        live.show(lambda: "3 requests", lambda: "a table")
    assert ["3 requests"] == capsys.readouterr().err.splitlines()
    assert "" == pipe.file.getvalue()
    with LiveView(terminal, lines) as live:
        live.show(lambda: "3 requests", lambda: "a table")
    assert "a table" in terminal.file.getvalue()
    assert "" == capsys.readouterr().err


def test_work_of_unknown_length_is_named_at_once(capsys, pipe, terminal):
    with working(pipe, "exporting phase-2") as say:
        say("exporting phase-3")
    assert ["exporting phase-2"] == capsys.readouterr().err.splitlines()
    assert "" == pipe.file.getvalue()
    with working(terminal, "exporting phase-2"):
        pass
    assert "exporting phase-2" in terminal.file.getvalue()
