"""A checkpoint is loaded completely, or refused with the reason."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from architectures import checkpoint
from architectures.checkpoint import CheckpointError
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU

Tensors = dict[str, torch.Tensor]
KEY = "output_proj.3.bias"


@pytest.fixture
def tensors(model: MemoryAugmentedGRU) -> Tensors:
    return dict(model.state_dict())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_good_checkpoint_loads_in_fp32(
    model: MemoryAugmentedGRU, tensors: Tensors, tmp_path: Path, suffix: str
) -> None:
    """Half precision on disk, single in memory, dropout off."""
    path = tmp_path / f"good{suffix}"
    if suffix == ".pt":
        torch.save({"model_state_dict": tensors, "epoch": 3}, path)
    else:
        checkpoint.save(model, path, {"recipe": "phase-2"})
    loaded = checkpoint.load(path)
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        assert torch.float32 == value.dtype
        torch.testing.assert_close(value, tensors[key], atol=2e-3, rtol=1e-3)


def test_metadata_is_stored_with_the_architecture(
    model: MemoryAugmentedGRU, tmp_path: Path
) -> None:
    """A `.pt` file has no metadata. The file gets the usual permissions."""
    path = tmp_path / "a.safetensors"
    checkpoint.save(model, path, {"window": "500"})
    expected = {"architecture": "memory-augmented-gru", "window": "500"}
    assert expected == checkpoint.metadata(path)
    assert {} == checkpoint.metadata(tmp_path / "a.pt")
    assert [path] == list(tmp_path.iterdir())
    (plain := tmp_path / "plain").touch()
    assert plain.stat().st_mode == path.stat().st_mode


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    """Byte for byte, in any order of metadata, also with names that are not ASCII."""
    model = DecayedMeans([0.5], width=2)
    said = {key: f"{key} of the Adélie" for key in ["recipe", "window", "best_epoch", "hold_out"]}
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    checkpoint.save(model, files[0], said)
    checkpoint.save(model, files[1], dict(reversed(said.items())))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert {"architecture": "decayed-means", **said} == checkpoint.metadata(files[0])
    expected = model.state_dict()
    for key, value in checkpoint.load(files[0]).state_dict().items():
        assert torch.equal(value, expected[key].half().float())


def _without(tensors: Tensors) -> None:
    del tensors[KEY]


def _with_another(tensors: Tensors) -> None:
    tensors["memory.usage"] = torch.zeros(3)


def _misshapen(tensors: Tensors) -> None:
    tensors[KEY] = torch.zeros(767)


def _transposed(tensors: Tensors) -> None:
    tensors["output_proj.3.weight"] = tensors["output_proj.3.weight"].T.contiguous()


def _nan(tensors: Tensors) -> None:
    tensors[KEY] = torch.full((768,), float("nan"))


def _too_large_for_fp32(tensors: Tensors) -> None:
    tensors[KEY] = torch.full((768,), 1e300, dtype=torch.float64)


def _integers(tensors: Tensors) -> None:
    tensors[KEY] = torch.zeros(768, dtype=torch.int32)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without, f"missing {KEY}"),
        (_with_another, "unexpected memory.usage"),
        (_misshapen, rf"{KEY} has shape \[767\], not \[768\]"),
        (_transposed, r"output_proj.3.weight has shape \[1024, 768\], not \[768, 1024\]"),
        (_nan, f"{KEY} has values that are NaN or infinite"),
        (_too_large_for_fp32, f"{KEY} has values that are NaN or infinite"),
        (_integers, f"{KEY} is not a dense tensor of floats"),
    ],
)
def test_a_wrong_tensor_is_refused_by_its_key(
    tensors: Tensors, tmp_path: Path, suffix: str, spoil: Callable[[Tensors], None], says: str
) -> None:
    """In both file formats."""
    spoil(tensors)
    path = tmp_path / f"bad{suffix}"
    if suffix == ".pt":
        torch.save({"model_state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(path)


class _Code:
    """Would call a function when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("ran"),))


def _write_list(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


def _write_bare_tensors(path: Path) -> None:
    torch.save({"gru.weight_ih_l0": torch.zeros(3)}, path)


def _write_a_number_among_the_tensors(path: Path) -> None:
    torch.save({"model_state_dict": {KEY: 3}}, path)


def _write_sparse(path: Path) -> None:
    tensors = dict(MemoryAugmentedGRU().state_dict())
    tensors[KEY] = torch.zeros(768).to_sparse()
    torch.save({"model_state_dict": tensors}, path)


def _write_truncated(path: Path) -> None:
    torch.save({"model_state_dict": {KEY: torch.zeros(768)}}, path)
    path.write_bytes(path.read_bytes()[:700])


def _write_code(path: Path) -> None:
    torch.save({"model_state_dict": {KEY: _Code()}}, path)


def _write_pickled_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Code()))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_write_list, "must be a dict with 'model_state_dict'"),
        (_write_bare_tensors, "must be a dict with 'model_state_dict'"),
        (_write_a_number_among_the_tensors, rf"model_state_dict\['{KEY}'\] is not a tensor"),
        (_write_sparse, f"{KEY} is not a dense tensor of floats"),
        (_write_truncated, "not a readable .pt file"),
        (_write_code, "could run code"),
        (_write_pickled_code, "could run code"),
        (lambda path: path.write_bytes(b""), "not a readable .pt file"),
        (lambda path: path.write_bytes(b"\x00" * 100), "not a (plain|readable) .pt file"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 99), "not a readable .pt file"),
        (lambda path: path.write_text("hello"), "not a (plain|readable) .pt file"),
        (lambda path: path.mkdir(), "no such file"),
        (lambda _path: None, "no such file"),
    ],
)
def test_a_pt_file_of_another_kind_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], None],
    says: str,
) -> None:
    """None of its code runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    write(path)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_truncated_safetensors_file_is_refused(
    model: MemoryAugmentedGRU, tmp_path: Path, keep: int
) -> None:
    """`load` and `metadata` refuse it at any length."""
    path = tmp_path / "cut.safetensors"
    checkpoint.save(model, path, {})
    path.write_bytes(path.read_bytes()[:keep])
    for read in (checkpoint.load, checkpoint.metadata):
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            read(path)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """The suffix selects the format."""
    path = tmp_path / "model.onnx"
    path.touch()
    with pytest.raises(CheckpointError, match=r"ends in .pt or .safetensors"):
        checkpoint.load(path)
