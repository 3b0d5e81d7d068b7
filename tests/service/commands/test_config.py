"""`nextvec config check` and `nextvec config show`."""

from __future__ import annotations

import json
import os

import pytest

from service.cli import main
from service.settings.catalog import catalog

SECRET = "s3cret-s3cret-s3cret"


@pytest.fixture(autouse=True)
def _a_configured_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in list(os.environ):
        if name.startswith("NEXTVEC_"):
            monkeypatch.delenv(name)


def test_a_valid_configuration_is_checked(capsys, tmp_path):
    (tmp_path / "nextvec.toml").write_text("port = 9000\n")
    assert main(["config", "check"]) == 0
    assert "1 of" in capsys.readouterr().out


def test_each_fault_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("NEXTVEC_STABEL", "x")
    monkeypatch.setenv("NEXTVEC_HOST", "")
    monkeypatch.setenv("NEXTVEC_ADMIN__VIEWER_TOKEN", f"{SECRET}\n")
    assert main(["config", "check"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "NEXTVEC_STABEL is not a setting; did you mean NEXTVEC_STABLE?" in error
    assert "warning: NEXTVEC_HOST is blank" in error
    assert "admin.viewer_token" in error
    assert SECRET not in error


def test_files_that_settings_name_are_checked(capsys, monkeypatch, tmp_path):
    (tmp_path / "plan.yaml").write_text("stepz: 3\n")
    monkeypatch.setenv("NEXTVEC_ROLLOUT__PLAN", str(tmp_path / "plan.yaml"))
    monkeypatch.setenv("NEXTVEC_MODELS", str(tmp_path / "nowhere"))
    assert main(["config", "check", "-o", "json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert not result["valid"]
    assert any("stepz" in problem for problem in result["problems"])
    assert any("nowhere is not a directory" in problem for problem in result["problems"])


def test_show_has_every_value_with_its_source_and_no_secret(capsys, monkeypatch, tmp_path):
    (tmp_path / "nextvec.toml").write_text('canary = "phase-9"\n')
    monkeypatch.setenv("NEXTVEC_ADMIN__VIEWER_TOKEN", SECRET)
    monkeypatch.setenv("NEXTVEC_ROLLOUT__PROMETHEUS_MATCHERS", 'job="[/x]"')
    assert main(["config", "show", "--output", "json"]) == 0
    out = capsys.readouterr().out
    assert SECRET not in out
    rows = {row["key"]: row for row in json.loads(out)["settings"]}
    assert set(rows) == {info.key for info in catalog()}
    assert ("phase-9", "file nextvec.toml") == (rows["canary"]["value"], rows["canary"]["source"])
    assert "(hidden)" == rows["admin.viewer_token"]["value"]
    assert "environment (NEXTVEC_ADMIN__VIEWER_TOKEN)" == rows["admin.viewer_token"]["source"]
    assert "default" == rows["port"]["source"]
    assert main(["config", "show", "--changed"]) == 0
    table = capsys.readouterr().out
    assert "canary" in table
    assert "[/x]" in table
    assert "queue_limit" not in table
    assert SECRET not in table


def test_show_refuses_a_wrong_configuration_by_name(capsys, monkeypatch):
    monkeypatch.setenv("NEXTVEC_PORT", "http")
    assert main(["config", "show"]) == 1
    assert "NEXTVEC_PORT" in capsys.readouterr().err
