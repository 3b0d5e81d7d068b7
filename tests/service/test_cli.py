"""The command line: a table of names, each imported only when asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.cli import COMMANDS, main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help_lists_every_command(capsys, arguments):
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in said


def test_a_setting_that_is_no_json_is_named(monkeypatch):
    """And not quoted: it may hold a secret."""
    monkeypatch.setenv("NEXTVEC_ROLLOUT__WEBHOOKS", "[https://s3cret")
    with pytest.raises(SystemExit, match=r'field "rollout".*JSON') as ended:
        main(["serve"])
    assert "s3cret" not in str(ended.value)


def test_an_unknown_command_is_named(capsys):
    assert main(["serv"]) == 2
    assert "no command 'serv'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert COMMANDS[name][1] in capsys.readouterr().out


@pytest.mark.slow
def test_serving_imports_neither_torch_nor_the_other_packages():
    """It runs where only the serving dependencies are installed."""
    script = (
        "import sys, service.commands.serve\n"
        "print([m for m in ('torch', 'onnx', 'model_export', 'training', 'loadtest', 'matplotlib')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
