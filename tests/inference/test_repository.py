"""The repository opens only what its manifests describe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import NotFound, VersionError
from service.inference.repository import Repository
from tests.support.fakes import put_version


def test_it_lists_versions_and_not_unfinished_exports(tmp_path):
    """Hidden folders, other files, and folders without a manifest are no versions."""
    put_version(tmp_path, "phase-2")
    put_version(tmp_path, "phase-3")
    put_version(tmp_path, "phase-4").rename(tmp_path / "next-vector" / ".partial-phase-4")
    (tmp_path / "next-vector" / "empty").mkdir()
    (tmp_path / "next-vector" / "note.txt").write_text("")
    assert Repository(tmp_path, "next-vector").versions() == ("phase-2", "phase-3")
    assert Repository(tmp_path, "another").versions() == ()


def _deny(monkeypatch, method, denied):
    """The tests may run as root, who may read everything."""
    real = getattr(Path, method)

    def checked(path, *arguments, **options):
        if path == denied or denied in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, method, checked)


def test_an_unreadable_entry_is_skipped_with_one_warning(tmp_path, monkeypatch, caplog):
    put_version(tmp_path, "phase-2")
    (tmp_path / "next-vector" / "lost+found").mkdir()
    _deny(monkeypatch, "is_file", tmp_path / "next-vector" / "lost+found")
    repository = Repository(tmp_path, "next-vector")
    for _ in range(3):
        assert repository.versions() == ("phase-2",)
    assert 1 == caplog.text.count("lost+found' cannot be read: Permission denied")


def test_a_name_that_no_version_can_have_is_skipped(tmp_path, caplog):
    put_version(tmp_path, "phase-2")
    for name in ("phase 3", "phäse", "x" * 65, "phase-\udcff"):
        put_version(tmp_path, "phase-4").rename(tmp_path / "next-vector" / name)
    assert Repository(tmp_path, "next-vector").versions() == ("phase-2",)
    assert 4 == caplog.text.count("it is skipped")


def test_an_unreadable_repository_is_named(tmp_path, monkeypatch):
    put_version(tmp_path, "phase-2")
    _deny(monkeypatch, "iterdir", tmp_path / "next-vector")
    with pytest.raises(VersionError, match="next-vector cannot be read: Permission denied"):
        Repository(tmp_path, "next-vector").versions()


def test_a_repository_that_is_a_file_is_named(tmp_path):
    (tmp_path / "next-vector").write_text("")
    with pytest.raises(VersionError, match="next-vector cannot be read: Not a directory"):
        Repository(tmp_path, "next-vector").open("phase-2")


@pytest.mark.parametrize(
    ("method", "file"), [("read_bytes", "manifest.json"), ("open", "model.onnx")]
)
def test_an_unreadable_file_is_named(tmp_path, monkeypatch, method, file):
    folder = put_version(tmp_path, "phase-2")
    _deny(monkeypatch, method, folder / file)
    with pytest.raises(VersionError, match=rf"{file} cannot be read: Permission denied"):
        Repository(tmp_path, "next-vector").open("phase-2")


def test_a_verified_version_is_opened(tmp_path):
    folder = put_version(tmp_path, "phase-2", window=500)
    files = Repository(tmp_path, "next-vector").open("phase-2")
    assert (files.manifest.context_window, files.graph) == (500, folder / "model.onnx")


@pytest.mark.parametrize("name", ["phase-9", "../phase-2", "", ".", "next-vector/phase-2"])
def test_a_name_that_is_no_version_is_not_found(tmp_path, name):
    """A version is a name, never a path."""
    put_version(tmp_path, "phase-2")
    with pytest.raises(NotFound, match="there are: phase-2"):
        Repository(tmp_path, "next-vector").open(name)


def test_an_empty_repository_says_how_to_get_a_version(tmp_path):
    with pytest.raises(NotFound, match="nextvec export writes one"):
        Repository(tmp_path, "next-vector").open("phase-2")


def _truncate_graph(folder):
    (folder / "model.onnx").write_bytes(b"")


def _remove_graph(folder):
    (folder / "model.onnx").unlink()


def _break_manifest(folder):
    (folder / "manifest.json").write_text("{")


def _edit_manifest(**changes):
    def edit(folder):
        content = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(content | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate_graph, "sha256 differs"),
        (_remove_graph, "missing"),
        (_break_manifest, "manifest.json"),
        (_edit_manifest(context_window=0), "context_window"),
        (_edit_manifest(surprise=1), "surprise"),
        (_edit_manifest(version="phase-3"), "names another version, 'phase-3'"),
        (_edit_manifest(files={}), r"does not list model\.onnx"),
        (_edit_manifest(files={"../phase-2/model.onnx": "0"}), r"does not list model\.onnx"),
        (_edit_manifest(files={"model.onnx": "0", "../x": "0"}), "differs|missing"),
    ],
)
def test_a_damaged_version_is_refused_with_the_reason(tmp_path, damage, message):
    damage(put_version(tmp_path, "phase-2"))
    with pytest.raises(VersionError, match=message):
        Repository(tmp_path, "next-vector").open("phase-2")
