"""The command line: a table of subcommands, each imported when it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from service.cli import COMMANDS, main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys, arguments):
    assert main(arguments) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f" {name} " in listed


def test_help_imports_no_command():
    """So that it starts fast, and works where only the serving dependencies are installed."""
    script = (
        "import sys; from service.cli import main; main(['--help'])\n"
        "print([m for m in sys.modules if '.commands.' in m"
        " or m in ('numpy', 'torch', 'fastapi', 'httpx')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "['service.commands.usage']"


def test_the_version_is_the_installed_one(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nextvec {version('nextvec')}\n"


def test_an_invalid_json_setting_is_named_but_not_quoted(capsys, monkeypatch):
    """It may contain a secret."""
    monkeypatch.setenv("NEXTVEC_ROLLOUT__WEBHOOKS", "[https://s3cret")
    assert main(["serve"]) == 1
    error = capsys.readouterr().err
    assert re.search(r"NEXTVEC_ROLLOUT__WEBHOOKS.*JSON", error)
    assert "s3cret" not in error


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["serv"], "Did you mean 'serve'?"),
        (["rollout", "promot"], "Did you mean 'promote'?"),
        (["--verzion"], "No such option: --verzion. Did you mean '--version'?"),
        (["rollout", "wait", "--timout", "3"], "Did you mean '--timeout'?"),
        (["serve", "--cannary", "phase-3"], "No such option: --cannary. Did you mean '--canary'?"),
    ],
)
def test_a_misspelt_word_is_answered_with_a_suggestion(capsys, arguments, suggestion):
    assert main(arguments) == 2
    assert suggestion in " ".join(capsys.readouterr().err.split())


def test_a_wrong_choice_is_answered_with_the_right_ones(capsys):
    assert main(["rollout", "status", "-o", "yaml"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Invalid value for '--output' / '-o': 'yaml' is not one of 'text', 'json'." in said


@pytest.mark.parametrize("arguments", [["help", "rollout", "wait"], ["rollout", "wait", "-h"]])
def test_help_about_a_command(capsys, arguments):
    """A flag takes no value, and shows none."""
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "Usage: nextvec rollout wait" in shown
    assert "--through-pauses" in shown
    assert "<bool>" not in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(capsys, name):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: nextvec {name}" in shown
    assert f"nextvec {name}" in shown.partition("Examples:")[2]


def test_completion_proposes_the_commands():
    """The protocol of Typer's completion script for bash."""
    ran = subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()"],
        env={"_NEXTVEC_COMPLETE": "complete_bash", "COMP_WORDS": "nextvec roll", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["rollout"]


@pytest.mark.slow
def test_serving_imports_neither_torch_nor_the_other_packages():
    """It runs where only the serving dependencies are installed."""
    script = (
        "import sys, service.commands.serve, service.commands.single_process\n"
        "print([m for m in ('torch', 'onnx', 'model_export', 'training', 'loadtest', 'matplotlib')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "my.pt", "--version", "a"], "Missing option '--context-window'. How many"),
        (["rollout", "start"], "Missing argument 'CANARY'. Version in the model repository."),
        (["trial"], "noise on its predictions, which must be. Choose from:"),
    ],
)
def test_what_is_missing_is_named_with_its_purpose(capsys, monkeypatch, arguments, said):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(arguments) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert said.casefold() in shown.casefold()


WITH_RESULTS = (
    "bench|config check|config show|data build|data import|demo|evaluate compare|evaluate curves|"
    "evaluate pools|evaluate report|evaluate sweep|experiment plateau|experiment probe|export|"
    "fleet drill|fuzz|loadtest|rollout abort|rollout history|rollout pause|rollout plan|"
    "rollout promote|rollout resume|rollout retry|rollout start|rollout status|rollout undo|"
    "rollout wait|simulate|soak|train|trial noisy|trial same|trial slowed"
)


@pytest.mark.parametrize("name", tuple(WITH_RESULTS.split("|")))
def test_every_result_is_also_there_for_programs(capsys, name):
    """`-o json` on every command but those that run until they are stopped."""
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--output" in shown
    assert "-o" in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "-o", "json"]])
def test_a_full_disk_under_stdout_is_one_line(arguments):
    script = "from service.cli import main; raise SystemExit(main())"
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        ran = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (1, "nextvec config: cannot print: No space left on device\n") == (
        ran.returncode,
        ran.stderr,
    )
