"""Which versions a fleet exports for itself."""

from __future__ import annotations

import json

import pytest

from loadtest.demo import environment
from loadtest.fleet.versions import MODEL, export_missing
from service.manifest import sha256


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Checkpoints `a` and `b`, a repository with another export of `a`, and what is exported."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    put(tmp_path, "a", window=1)
    exported = []
    monkeypatch.setattr(
        environment, "export_version", lambda models, version, *rest: exported.append(version)
    )

    def export(*names, **options):
        windows = dict.fromkeys(names, 100)
        export_missing(
            tmp_path / "models", tmp_path, windows, tmp_path / "out", lambda _line: None, **options
        )
        return exported

    return tmp_path, export


def put(folder, version, window):
    manifest = folder / "models" / MODEL / version / "manifest.json"
    manifest.parent.mkdir(parents=True)
    source = sha256(folder / f"{version}.safetensors")
    content = {"source_sha256": source, "context_window": window, "precisions": {}}
    manifest.write_text(json.dumps(content))


def test_only_what_is_missing_is_exported(place):
    """A user's own export of another window is left alone."""
    _, export = place
    assert ["b"] == export("a", "b")


def test_what_is_not_as_wanted_is_replaced_if_asked(place):
    folder, export = place
    put(folder, "b", window=100)
    assert ["a"] == export("a", "b", replace=True)


def test_a_version_without_a_checkpoint_is_an_error(place):
    _, export = place
    with pytest.raises(environment.EnvironmentSetupError, match="there is no version c"):
        export("c")
