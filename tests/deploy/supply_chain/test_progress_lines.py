"""A long command shows that it is alive, without flooding the terminal."""

from __future__ import annotations

import sys

import pytest

from deploy.supply_chain.progress_lines import main

TALKATIVE = (
    "import sys, time\n"
    "for i in range(500): print('Collecting package', i)\n"
    "sys.stdout.flush()\n"
    "time.sleep(0.6)\n"
)


def run(tmp_path, code, every="0.1"):
    log = tmp_path / "setup.log"
    command = [sys.executable, "-c", code]
    status = main(["--title", "Installing", "--log", str(log), "--every", every, "--", *command])
    return status, log.read_text()


def test_progress_is_a_line_every_few_seconds_and_the_log_has_all(tmp_path, capsys):
    status, log = run(tmp_path, TALKATIVE)
    lines = capsys.readouterr().out.splitlines()
    assert 0 == status
    assert "Installing" == lines[0]
    assert any("Collecting package 499" in line for line in lines)
    assert lines[-1].endswith("done")
    assert 3 <= len(lines) < 50
    assert 500 == len(log.splitlines())


def test_a_failure_shows_the_last_lines_and_where_the_rest_is(tmp_path, capsys):
    status, log = run(tmp_path, "print('one'); raise SystemExit('no matching hash')")
    shown = capsys.readouterr().out
    assert 1 == status
    assert "no matching hash" in shown
    assert "setup.log" in shown
    assert "no matching hash" in log


def test_a_command_is_needed(tmp_path):
    with pytest.raises(SystemExit):
        main(["--title", "x", "--log", str(tmp_path / "log")])
