"""Where programs are found, and what is said of those that are missing."""

from __future__ import annotations

import pytest

from loadtest.fleet import programs
from loadtest.fleet.programs import PROGRAMS, MissingPrograms, find_program, find_programs


def put(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with nothing but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(programs, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(programs, "POSTGRES_FOLDERS", (str(tmp_path / "postgresql"),))
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "venv" / "python"))
    return tmp_path


def test_all_that_is_missing_is_named_with_its_command(bare):
    put(bare / "bin", "redis-server")
    with pytest.raises(MissingPrograms) as raised:
        find_programs(["envoy", "redis", "postgres"])
    text = str(raised.value)
    assert PROGRAMS["envoy"].install in text
    assert PROGRAMS["postgres"].install in text
    assert PROGRAMS["redis"].install not in text


def test_valkey_stands_in_for_redis(bare):
    valkey = put(bare / "bin", "valkey-server")
    assert valkey == find_program("redis")
    assert put(bare / "bin", "redis-server") == find_program("redis")


def test_what_pip_installed_comes_first(bare):
    put(bare / "bin", "envoy")
    assert put(bare / "venv", "envoy") == find_program("envoy")


def test_the_newest_postgresql_is_taken_from_its_own_folder(bare):
    put(bare / "postgresql" / "9" / "bin", "initdb")
    newest = put(bare / "postgresql" / "15" / "bin", "initdb")
    assert newest == find_program("initdb")
    assert None is find_program("postgres")
