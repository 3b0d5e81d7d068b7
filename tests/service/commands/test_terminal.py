"""Output that works on every terminal, pipe and file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console, Group

from service.commands.rollout_view import history_lines, status_view
from service.commands.terminal import make_console, plain_text, print_result

FULL = Path("/dev/full")

MARKUP = "see runbook [/team/ops] [x] text [/x] \x1b[2J\x9b2J\u202e"
ESCAPED = r"see runbook [/team/ops] [x] text [/x] \x1b[2J\x9b2J\u202e"
STATUS = {
    "outlook": "[red]",
    "headline": MARKUP,
    "next": {"text": MARKUP, "conditions": [], "deadline_at": None},
    "phase": "Paused",
    "message": MARKUP,
    "generation": 3,
    "stable": "phase-2",
    "canary": "[red]phase-3",
    "weight": {"set_percent": 5.0},
    "step": 0,
    "steps": 2,
    "looked_at": None,
    "guardrails": [
        {
            "name": "latency",
            "label": "P95 latency",
            "standing": "[bold]",
            "required": True,
            "message": MARKUP,
            "stable": None,
            "canary": None,
            "value_unit": None,
            "difference": None,
            "difference_kind": None,
            "limit": None,
            "direction": None,
            "interval": None,
            "progress": {"pass": 0.0, "fail": 0.0},
            "log_evidence": {"fail": 0.0, "pass": 0.0, "bound": 5.0, "pass_bound": 4.0},
        }
    ],
    "gate": {"overridden": True, "missed": [{"message": MARKUP}]},
    "legal": ["abort"],
}
ROW = {
    "at": 1_700_000_000,
    "actor": "[a]",
    "from": None,
    "to": "Healthy",
    "weight_percent": 0.0,
    "message": "the arithmetic",
    "headline": "the headline",
    "note": MARKUP,
}


def render(shown) -> str:
    console = Console(width=400, force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def test_free_text_is_data():
    shown = render(status_view(STATUS, verbose=True))
    assert 5 == shown.count(ESCAPED)
    assert "[red]phase-3" in shown
    assert "[bold]" in shown
    shown = render(Group(*history_lines([ROW])))
    assert ESCAPED in shown
    assert "[a]" in shown
    assert "\x1b" not in shown


def test_plain_text_keeps_its_style():
    assert "bold" == plain_text("[x]", "bold").style


@pytest.mark.parametrize("error", [UnicodeEncodeError("ascii", "→", 0, 1, "no"), OSError(28, "x")])
def test_a_result_that_cannot_be_printed_is_no_failure(capfd, error):
    def show(console):
        raise error

    saved = os.dup(1)
    try:
        print_result(show, "nextvec rollout: the change was made")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert "the change was made, but its result cannot be printed" in capfd.readouterr().err


CHANGE = """
import sys
from service import cli
from service.commands import rollout
from tests.service.commands.test_terminal import STATUS

class Client:
    def __init__(self, *_): pass
    def status(self): return {"generation": 3}
    def change(self, *_, **__): return {**STATUS, "message": "→ – …"}

rollout.AdminClient = Client
sys.exit(cli.main(["rollout", "pause"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stdout_of_another_encoding(request, encoding):
    ran = subprocess.run(
        [sys.executable, "-c", CHANGE],
        cwd=request.config.rootpath,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (0, b"") == (ran.returncode, ran.stderr)
    assert b"Paused" in ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_stdout_does_not_fail_a_change(request):
    with FULL.open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-c", CHANGE],
            cwd=request.config.rootpath,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert 0 == ran.returncode
    assert b"the change was made, but its result cannot be printed" in ran.stderr


def test_a_pipe_is_not_wrapped_and_nothing_is_coloured_by_itself(capsys, monkeypatch):
    """Rich would colour the 2 of phase-2."""
    monkeypatch.delenv("COLUMNS", raising=False)
    make_console().print("phase-2 " + "x" * 500)
    assert ["phase-2 " + "x" * 500] == capsys.readouterr().out.splitlines()
    monkeypatch.setenv("FORCE_COLOR", "1")
    make_console().print("phase-2 has 5 % of new requests")
    assert "phase-2 has 5 % of new requests" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["1", ""])
def test_no_color_is_honoured(capsys, monkeypatch, value):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", value)
    make_console().print(plain_text("failed", "red"))
    assert ("\x1b[31m" not in capsys.readouterr().out) == bool(value)
