"""`nextvec rollout status --watch` outlives a restart, and prints lines into a pipe."""

from __future__ import annotations

import pytest

from service.commands import rollout_watch
from service.commands.admin_client import UnreachableError
from tests.service.commands.test_terminal import STATUS


class ScriptedClient:
    """Answers with each of `answers`, then is interrupted."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)

    def status(self):
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def watch(*answers) -> None:
    rollout_watch.watch(ScriptedClient(*answers), sleep=lambda _: None)


LOST = UnreachableError("nextvec rollout: no answer from http://h")


def test_a_line_for_each_change(capsys):
    later = {**STATUS, "generation": 4, "message": "went on"}
    watch(STATUS, STATUS, later, later)
    lines = capsys.readouterr().out.splitlines()
    assert 2 == len(lines)
    assert "Paused generation=4 stable=phase-2" in lines[1]
    assert lines[1].endswith(": went on")


def test_a_lost_connection_is_said_once_and_the_watch_goes_on(capsys):
    watch(STATUS, LOST, LOST, STATUS, {**STATUS, "generation": 4})
    captured = capsys.readouterr()
    assert [
        "nextvec rollout: no answer from http://h; trying again",
        "nextvec rollout: connected again",
    ] == captured.err.splitlines()
    assert 2 == len(captured.out.splitlines())


def test_a_refusal_ends_the_watch():
    with pytest.raises(SystemExit, match="unknown token"):
        watch(STATUS, SystemExit("unknown token"))
    with pytest.raises(UnreachableError):
        watch(LOST)


def test_a_terminal_shows_that_the_connection_is_lost(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    watch(STATUS, LOST, STATUS)
    assert "no answer from http://h; trying again" in capsys.readouterr().out
