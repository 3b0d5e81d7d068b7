"""The options of `nextvec fleet`, and what it says when it cannot begin."""

from __future__ import annotations

import json

import pytest

from loadtest.fleet import programs
from service.cli import main


def test_a_size_as_json(capsys):
    assert 0 == main(["fleet", "size", "--sessions", "1000", "--steps", "100", "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert (2, 1) == (found["replicas"], found["redis"])


def test_a_size_as_a_table(capsys):
    assert 0 == main(["fleet", "size"])
    assert "118" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["drill", "--replicas", "0"],
        ["drill", "--durability", "always"],
        ["drill", "--faults", "earthquake"],
        ["drill", "--rate", "nan"],
        ["up", "--port", "70000"],
        ["size", "--sessions", "0"],
    ],
)
def test_a_wrong_option_is_refused(wrong, capsys):
    assert 2 == main(["fleet", *wrong])


def test_missing_programs_are_named_before_anything_starts(tmp_path, monkeypatch, capsys):
    """With the commands that install them."""
    version = tmp_path / "models" / "next-vector" / "v"
    version.mkdir(parents=True)
    (version / "manifest.json").write_text("{}")
    monkeypatch.setattr(programs, "find_program", lambda _name: None)
    options = ["--stable", "v", "--canary", "v", "--models", str(tmp_path / "models")]
    options += ["--checkpoints", str(tmp_path), "--folder", str(tmp_path / "fleet")]
    assert 1 == main(["fleet", "up", *options])
    said = capsys.readouterr().err
    assert "make fleet-tools" in said
    assert "apt-get install postgresql" in said


def test_a_version_that_does_not_exist_is_named(tmp_path, capsys):
    options = ["--models", str(tmp_path), "--checkpoints", str(tmp_path), "--folder", str(tmp_path)]
    with pytest.raises(SystemExit, match="there is no version phase-2"):
        main(["fleet", "up", *options])


def test_a_fleet_of_others_needs_its_models(tmp_path):
    with pytest.raises(SystemExit, match="--models must say what it serves"):
        main(["fleet", "drill", "--url", "http://127.0.0.1:1", "--out", str(tmp_path)])
