"""Exports are reused if they are current, and servers are always stopped."""

from __future__ import annotations

import json
import os

import pytest

from loadtest.demo import environment
from service.manifest import sha256

pytestmark = pytest.mark.slow


@pytest.fixture
def exported(tmp_path):
    """A checkpoint and the manifest of the version exported from it."""
    checkpoint = tmp_path / "phase-2.safetensors"
    checkpoint.write_bytes(b"weights")
    manifest = tmp_path / "models" / "next-vector" / "phase-2" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    content = {"source_sha256": sha256(checkpoint), "context_window": 500, "precisions": {}}
    manifest.write_text(json.dumps(content))
    return checkpoint, manifest, tmp_path / "models"


def test_an_export_of_the_same_checkpoint_is_current(exported):
    """The manifest has the digest of the checkpoint."""
    checkpoint, _, models = exported
    assert environment.is_export_current(models, "phase-2", checkpoint, 500)
    assert not environment.is_export_current(models, "phase-3", checkpoint, 1000)


def test_another_checkpoint_or_window_or_a_damaged_manifest_is_not_current(exported):
    """Such a version is exported again."""
    checkpoint, manifest, models = exported
    good = manifest.read_text()
    for text in ("{", "[]", good.replace("500", "1000"), good.replace("precisions", "step_int8")):
        manifest.write_text(text)
        assert not environment.is_export_current(models, "phase-2", checkpoint, 500)
    manifest.write_text(good)
    checkpoint.write_bytes(b"other weights")
    assert not environment.is_export_current(models, "phase-2", checkpoint, 500)


def test_a_failed_export_reports_the_end_of_its_log(tmp_path):
    checkpoint = tmp_path / "phase-2.safetensors"
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(environment.EnvironmentSetupError, match="not a readable safetensors file"):
        environment.export_version(
            tmp_path / "models", "phase-2", checkpoint, tmp_path / "log", 500
        )


def test_the_link_to_the_console_works_once_on_the_server_that_was_started(tmp_path):
    """Its code is drawn for each server."""
    links = []
    for _ in range(2):
        with environment.run_server(tmp_path / "none", tmp_path) as server:
            links.append(server.console_link)
            assert server.token not in server.console_link
    first, second = (link.partition("/console#login=") for link in links)
    assert first[0].startswith("http://127.0.0.1:")
    assert first[2] != second[2]
    assert min(len(first[2]), len(second[2])) >= 20


def test_settings_for_another_server_do_not_reach_this_one(monkeypatch):
    """They could change its port or its device."""
    monkeypatch.setenv("NEXTVEC_PORT", "1")
    variables = environment._environment({"NEXTVEC_MODEL": "x"})
    assert "NEXTVEC_PORT" not in variables
    assert ("x", os.environ["PATH"]) == (variables["NEXTVEC_MODEL"], variables["PATH"])


def test_the_server_is_stopped_after_an_exception(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        environment.run_server(tmp_path / "none", tmp_path) as server,
    ):
        raise KeyboardInterrupt
    assert server.process.returncode is not None


def test_a_server_that_ends_is_reported_with_its_log(tmp_path):
    """The server ends because there are no versions."""
    with environment.run_server(tmp_path / "none", tmp_path) as server:
        server.process.wait()
        with pytest.raises(environment.EnvironmentSetupError, match="the server ended with status"):
            server.check()
