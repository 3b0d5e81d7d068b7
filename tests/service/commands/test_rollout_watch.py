"""`nextvec rollout status --watch` and `wait`: they outlive a restart and end with the rollout."""

from __future__ import annotations

import json
import re

import pytest

from service.commands import rollout_watch
from service.commands.admin_client import UnreachableError
from service.commands.rollout_watch import WaitStatus
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


class SleepClock:
    """A clock that each sleep moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def __call__(self):
        return self.now


def told(outlook, generation=3, phase="Progressing", headline="phase-3 looks good."):
    return {
        **STATUS,
        "outlook": outlook,
        "generation": generation,
        "phase": phase,
        "headline": headline,
    }


GOOD = told("looks_good")
FAILING = told("leaning_to_fail", headline="phase-3 leans to fail.")
BACK = told("rolled_back", 4, "RolledBack", "phase-3 was rolled back.")
LOST = UnreachableError("nextvec rollout: no answer from http://h")


def watch(*answers) -> None:
    rollout_watch.watch(ScriptedClient(*answers), sleep=lambda _: None)


def test_a_line_for_each_change_until_the_end(capsys):
    """A figure that moves is no change, and what comes after the end is not asked for."""
    later = {**GOOD, "headline": "phase-3 looks good; step 1 ends in about 3 s."}
    watch(GOOD, GOOD, later, FAILING, BACK, AssertionError("asked after the end"))
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert [
        "looks_good weight=5% step=1/2: phase-3 looks good.",
        "leaning_to_fail weight=5% step=1/2: phase-3 leans to fail.",
        "rolled_back weight=5% step=1/2: phase-3 was rolled back.",
    ] == lines


def test_a_line_of_json_for_each_change(capsys):
    answers = ScriptedClient(GOOD, GOOD, BACK)
    rollout_watch.watch(answers, as_json=True, sleep=lambda _: None)
    assert [GOOD, BACK] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_lost_connection_is_said_once_and_the_watch_goes_on(capsys):
    watch(GOOD, LOST, LOST, GOOD, BACK)
    captured = capsys.readouterr()
    assert [
        "nextvec rollout: no answer from http://h; trying again",
        "nextvec rollout: connected again",
    ] == captured.err.splitlines()
    assert 2 == len(captured.out.splitlines())


def test_a_refusal_ends_the_watch():
    with pytest.raises(SystemExit, match="unknown token"):
        watch(GOOD, SystemExit("unknown token"))
    with pytest.raises(UnreachableError):
        watch(LOST)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_a_terminal_shows_six_lines(monkeypatch, capsys, columns):
    """Redrawn in place, whatever the width, and the last one says that the connection is lost."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    watch(GOOD, LOST, BACK)
    shown = re.sub(r"\x1b\[\?25[lh]", "", capsys.readouterr().out)
    frames = re.split(r"(?:\x1b\[2K\x1b\[1A)+\x1b\[2K|\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)+", shown)
    assert len(frames) >= 3
    assert all(5 == frame.strip().count("\n") for frame in frames)
    assert "no answer from http://h; trying again" in shown
    assert "The rollout has ended." in shown


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((GOOD, told("promoted", 5, "Healthy")), WaitStatus.PROMOTED),
        ((GOOD, told("promoted", 4, "Promoting"), told("promoted", 5, "Healthy")), 0),
        ((told("idle", 0, "Healthy"),), 0),
        ((GOOD, BACK), WaitStatus.ENDED),
        ((GOOD, told("stopped", 4, "RolledBack")), 2),
        ((GOOD, told("needs_you", 4, "Paused")), WaitStatus.HELD),
        ((GOOD, told("paused", 4, "Paused")), 3),
        ((LOST, LOST, GOOD, LOST, BACK), 2),
        ((GOOD,) * 100, WaitStatus.TIMEOUT),
        ((GOOD, *(LOST,) * 100), 124),
    ],
)
def test_the_exit_status_of_a_wait(answers, expected):
    clock = SleepClock()
    found, _ = rollout_watch.wait(ScriptedClient(*answers), 60, sleep=clock.sleep, now=clock)
    assert expected == found
    assert clock.now <= 60


def test_a_wait_can_outlast_pauses():
    clock = SleepClock()
    client = ScriptedClient(GOOD, told("needs_you", 4, "Paused"), told("promoted", 5, "Healthy"))
    found, last = rollout_watch.wait(client, 60, through_pauses=True, sleep=clock.sleep, now=clock)
    assert (WaitStatus.PROMOTED, 5) == (found, last["generation"])


def test_a_wait_without_a_change_says_now_and_then_how_it_stands(capsys):
    clock = SleepClock()
    rollout_watch.wait(ScriptedClient(*(GOOD,) * 100), 70, sleep=clock.sleep, now=clock)
    assert 3 == capsys.readouterr().err.count("looks_good weight=5% step=1/2")


def test_a_wait_tells_each_change_on_stderr(capsys):
    clock = SleepClock()
    rollout_watch.wait(
        ScriptedClient(GOOD, GOOD, LOST, FAILING, BACK), 60, sleep=clock.sleep, now=clock
    )
    captured = capsys.readouterr()
    assert "" == captured.out
    assert 4 == len(captured.err.splitlines())


def test_an_address_that_never_answers_is_given_up():
    clock = SleepClock()
    with pytest.raises(UnreachableError):
        rollout_watch.wait(ScriptedClient(*(LOST,) * 100), 3600, sleep=clock.sleep, now=clock)
    assert rollout_watch.FIRST_CONTACT_SECONDS == clock.now
