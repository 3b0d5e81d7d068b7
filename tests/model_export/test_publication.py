"""A version is published completely or not at all, whenever the export is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model_export.publication import PARTIAL, PublishError, check_absent, stage_version

_DIES = """
import os, sys
from pathlib import Path
from model_export.publication import stage_version
with stage_version(Path(sys.argv[1]), "m", "v1") as directory:
    (directory / "model.onnx").write_text("half")
    os._exit(9)
"""


def _die_between_write_and_rename(models: Path) -> None:
    """Exit as `kill -9` would, without handlers."""
    died = subprocess.run([sys.executable, "-c", _DIES, str(models)], check=False)
    assert 9 == died.returncode


def _publish(models: Path, version: str = "v1", content: str = "whole") -> None:
    with stage_version(models, "m", version) as directory:
        (directory / "model.onnx").write_text(content)


def test_staged_files_are_published_when_the_block_ends(tmp_path: Path) -> None:
    """Under the name of the version, readable by others, with no other files."""
    models = tmp_path / "deep" / "models"
    with stage_version(models, "m", "v1") as directory:
        (directory / "model.onnx").write_text("whole")
        assert not (models / "m" / "v1").exists()
    assert [models / "m" / "v1"] == list((models / "m").iterdir())
    assert "whole" == (models / "m" / "v1" / "model.onnx").read_text()
    assert 0o755 == (models / "m" / "v1").stat().st_mode & 0o777


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_block_raises(tmp_path: Path, error: type[BaseException]) -> None:
    """Directories that the export created are removed too."""
    models = tmp_path / "deep" / "models"

    def fail() -> None:
        with stage_version(models, "m", "v1") as directory:
            (directory / "model.onnx").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [] == list(tmp_path.iterdir())


def test_versions_already_there_survive_a_failure(tmp_path: Path) -> None:
    """Only what the failed export made is removed."""
    _publish(tmp_path)
    with pytest.raises(RuntimeError), stage_version(tmp_path, "m", "v2"):
        raise RuntimeError
    assert [tmp_path / "m" / "v1"] == list((tmp_path / "m").iterdir())


def test_nothing_is_left_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error contains the system's message."""

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PublishError, match=r"not published: .*No space left"):
        _publish(tmp_path / "models")
    assert [] == list(tmp_path.iterdir())


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    """It is checked before any work, and again before the directory is created."""
    check_absent(tmp_path, "m", "v1")
    _publish(tmp_path)
    with pytest.raises(PublishError, match="choose another --version or remove it"):
        check_absent(tmp_path, "m", "v1")
    with pytest.raises(PublishError, match="choose another --version or remove it"):
        _publish(tmp_path, content="other")
    assert "whole" == (tmp_path / "m" / "v1" / "model.onnx").read_text()


def test_a_killed_export_leaves_only_a_hidden_directory(tmp_path: Path) -> None:
    """It is not a version, and the next export removes it."""
    _die_between_write_and_rename(tmp_path)
    (leftover,) = (tmp_path / "m").iterdir()
    assert leftover.name.startswith(PARTIAL)
    _publish(tmp_path, "v2")
    assert [tmp_path / "m" / "v2"] == list((tmp_path / "m").iterdir())


def test_a_killed_export_can_be_run_again(tmp_path: Path) -> None:
    """The operating system releases its lock."""
    _die_between_write_and_rename(tmp_path)
    _publish(tmp_path)
    assert "whole" == (tmp_path / "m" / "v1" / "model.onnx").read_text()


def test_two_exports_of_one_model_do_not_run_together(tmp_path: Path) -> None:
    """One would remove the other's directory."""
    with stage_version(tmp_path, "m", "v1") as directory:
        with pytest.raises(PublishError, match="another export is writing"):
            _publish(tmp_path, "v2")
        assert directory.is_dir()
    assert (tmp_path / "m" / "v1").is_dir()


def test_a_repository_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The file is not changed."""
    (tmp_path / "models").write_text("a file")
    with pytest.raises(PublishError, match="cannot be written"):
        _publish(tmp_path / "models")
    assert "a file" == (tmp_path / "models").read_text()
