"""`nextvec export` publishes a verified version, or nothing and prints the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, PARAMETERS, MemoryAugmentedGRU
from model_export import gru_graph, parity, session_drift
from model_export.parity import ParityCase
from service.cli import main
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Manifest, sha256
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def saved(model: MemoryAugmentedGRU, tmp_path: Path) -> Path:
    path = tmp_path / "phase-3.safetensors"
    checkpoint.save(model, path, {})
    return path


@pytest.fixture(autouse=True)
def _short_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full set of cases has its own test."""
    monkeypatch.setattr(parity.measure, "__defaults__", ((ParityCase.of_lengths((4, 1)),), _silent))
    monkeypatch.setattr(session_drift.measure, "__defaults__", (20, _silent))
    monkeypatch.setattr(session_drift.check_equal, "__defaults__", (5, parity.BOUND))


def _silent(_done: int, _total: int, _text: str) -> None:
    pass


def _export(saved: Path, models: Path, *more: str) -> int:
    options = ["--version", "phase-3", "--context-window", "1000", "--models", str(models)]
    return main(["export", str(saved), *options, *more])


def _set(name: str, digest: str, window: int, *, held_out: bool = True) -> dict[str, object]:
    score = {
        "name": "phase-3",
        "kind": "model",
        "window": window,
        "checkpoint_sha256": digest,
        "held_out": held_out,
        "hit_at_5": {"value": 0.4, "low": 0.3, "high": 0.5},
    }
    baseline = {
        "name": "repeat the last vector",
        "kind": "baseline",
        "window": None,
        "checkpoint_sha256": None,
        "held_out": True,
    }
    difference = {
        "a": "phase-4",
        "b": "phase-3",
        "metric": "hit_at_5",
        "difference": 0.01,
        "low": -0.02,
        "high": 0.03,
        "a_checkpoint_sha256": "other",
        "a_window": 2000,
        "b_checkpoint_sha256": digest,
        "b_window": window,
    }
    return {
        "name": name,
        "pool": {"kind": "random", "size": 1000, "seed": 0, "set": name},
        "scores": [score, baseline],
        "differences": [difference],
    }


def _report(path: Path, *sets: dict[str, object], version: int = 2) -> None:
    shared = {
        "schema_version": version,
        "data": {"file": "x", "sha256": "d" * 64},
        "interval": "95 %",
    }
    path.write_text(json.dumps({**shared, "sets": sets}))


def test_a_checkpoint_becomes_a_version(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest is complete, the graph loads and runs, and stdout has one line."""
    assert 0 == _export(saved, tmp_path / "models")
    folder = tmp_path / "models" / "next-vector" / "phase-3"
    files = {"model.onnx", "step-int8.onnx"}
    assert {*files, "manifest.json"} == {path.name for path in folder.iterdir()}
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    assert ("next-vector", "phase-3", 1000) == (
        manifest.model,
        manifest.version,
        manifest.context_window,
    )
    assert ("exact", "fp32", gru_graph.OPSET) == (
        manifest.window_policy,
        manifest.precision,
        manifest.opset,
    )
    assert PARAMETERS == manifest.parameters
    assert {name: sha256(folder / name) for name in files} == manifest.files
    assert sha256(saved) == manifest.source_sha256
    assert 1e-5 > manifest.parity.max_abs_difference
    assert {"torch", "onnx", "numpy", "nextvec"} <= manifest.tools.keys()
    engine = OnnxEngine(folder / "model.onnx", manifest.dimensions)
    answer, _ = engine.run(
        np.ones((2, 1, DIM), np.float32),
        np.array([2], np.int32),
        np.zeros((LAYERS, 1, HIDDEN), np.float32),
    )
    assert (1, DIM) == answer.shape
    printed = capsys.readouterr()
    assert 1 == printed.out.count("\n")
    assert manifest.files["model.onnx"] in printed.out
    assert "comparing it with PyTorch" in printed.err


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from service.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_without_pytorch_the_files_are_the_same(saved: Path, tmp_path: Path) -> None:
    """The graph is then compared with the network in NumPy, and PyTorch is none of the tools."""
    assert 0 == _export(saved, tmp_path / "a")
    options = ["--version", "phase-3", "--context-window", "30", "--models", str(tmp_path / "b")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "export", str(saved), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert 0 == done.returncode, done.stderr
    assert "comparing it with NumPy in float64" in done.stderr
    first, second = (tmp_path / n / "next-vector" / "phase-3" for n in ("a", "b"))
    for name in ("model.onnx", "step-int8.onnx"):
        assert sha256(first / name) == sha256(second / name)
    manifest = Manifest.model_validate_json((second / "manifest.json").read_text())
    assert "torch" not in manifest.tools
    assert len(parity.CASES) == len(manifest.parity.cases)


def test_pytorch_that_is_not_installed_is_named(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_export.torch_reference", None)
    with pytest.raises(SystemExit, match="--reference numpy; nothing was published"):
        _export(saved, tmp_path / "models", "--reference", "pytorch")


def test_the_same_checkpoint_gives_the_same_files(saved: Path, tmp_path: Path) -> None:
    """Graph and manifest contain neither a time nor a place."""
    for name in ("a", "b"):
        assert 0 == _export(saved, tmp_path / name)
    for file in ("model.onnx", "manifest.json"):
        first, second = (tmp_path / n / "next-vector" / "phase-3" / file for n in ("a", "b"))
        assert sha256(first) == sha256(second)


def test_a_version_carries_its_precisions_with_their_figures(saved: Path, tmp_path: Path) -> None:
    """int8 is exported by default. Hit@5 of each precision uses one pool of one stream."""
    for name, more in (("a", ()), ("b", ("--no-int8",))):
        assert 0 == _export(saved, tmp_path / name, *more)
    both, plain = (
        Manifest.model_validate_json(
            (tmp_path / name / "next-vector" / "phase-3" / "manifest.json").read_text()
        ).precisions
        for name in ("a", "b")
    )
    assert ({"fp32", "int8"}, {"fp32"}) == (both.keys(), plain.keys())
    assert plain["fp32"] == both["fp32"]
    assert None is plain["fp32"].drift
    drifted = both["int8"].drift
    assert drifted is not None
    assert 20 == drifted.steps
    assert 1 <= drifted.worst_step <= 20
    assert 0.99 <= drifted.min_cosine <= drifted.mean_cosine
    exact = both["fp32"].hits
    assert exact.model_copy(update={"hit_at_5": 0}) == both["int8"].hits.model_copy(
        update={"hit_at_5": 0}
    )


def test_a_version_for_a_gpu_carries_fp16_and_steps_over_a_pool(
    saved: Path, tmp_path: Path
) -> None:
    """The cosine covers a whole context, which runs in fp16 as well."""
    assert 0 == _export(saved, tmp_path, "--fp16", "--no-int8")
    folder = tmp_path / "next-vector" / "phase-3"
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    assert {
        "model.onnx",
        "model-fp16.onnx",
        "step-fp16.onnx",
        "step-fp32.onnx",
        "state-read.onnx",
        "state-write.onnx",
    } == set(manifest.files)
    assert ["fp32", "fp16"] == list(manifest.precisions)
    half = manifest.precisions["fp16"]
    assert half.drift is not None
    assert half.context_cosine is not None
    assert 0.9999 <= min(half.drift.min_cosine, half.context_cosine)
    assert "CPUExecutionProvider" == half.drift.provider


def test_the_evaluation_is_copied_into_the_manifest(saved: Path, tmp_path: Path) -> None:
    """With pool and baselines. `a` of each difference is this checkpoint."""
    report = tmp_path / "report.json"
    digest = sha256(saved)
    _report(report, _set("eras", digest, 1000), _set("latest", digest, 1000))
    assert 0 == _export(saved, tmp_path / "models", "--evaluation", str(report))
    path = tmp_path / "models" / "next-vector" / "phase-3" / "manifest.json"
    evaluation = json.loads(path.read_text())["evaluation"]
    eras, latest = evaluation["sets"]
    assert ("eras", "latest") == (eras["name"], latest["name"])
    assert ["phase-3", "repeat the last vector"] == [score["name"] for score in eras["scores"]]
    assert (1000, "eras") == (eras["pool"]["size"], eras["pool"]["set"])
    (difference,) = eras["differences"]
    assert ("phase-3", "phase-4") == (difference["a"], difference["b"])
    assert (-0.01, -0.03, 0.02) == (
        difference["difference"],
        difference["low"],
        difference["high"],
    )
    assert (digest, "other", 2000) == (
        difference["a_checkpoint_sha256"],
        difference["b_checkpoint_sha256"],
        difference["b_window"],
    )


def test_a_set_the_model_was_trained_on_is_left_out_of_the_manifest(
    saved: Path, tmp_path: Path
) -> None:
    """A score on training documents says nothing about new ones."""
    report = tmp_path / "report.json"
    digest = sha256(saved)
    _report(report, _set("eras", digest, 1000, held_out=False), _set("latest", digest, 1000))
    assert 0 == _export(saved, tmp_path / "models", "--evaluation", str(report))
    path = tmp_path / "models" / "next-vector" / "phase-3" / "manifest.json"
    evaluation = json.loads(path.read_text())["evaluation"]
    assert ["latest"] == [one["name"] for one in evaluation["sets"]]


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path, digest: _report(path, _set("eras", digest, 500)), "no score of this"),
        (lambda path, _digest: _report(path, _set("eras", "0" * 64, 1000)), "no score of this"),
        (
            lambda path, digest: _report(path, _set("eras", digest, 1000, held_out=False)),
            "held out from its training",
        ),
        (
            lambda path, digest: _report(path, _set("eras", digest, 1000), version=1),
            "schema_version",
        ),
        (lambda path, _digest: path.write_text("[]"), "not a report of nextvec evaluate"),
        (lambda path, _digest: path.write_text("{"), "not a report of nextvec evaluate"),
        (lambda _path, _digest: None, "not a report of nextvec evaluate"),
    ],
)
def test_another_checkpoints_report_is_refused(
    saved: Path, tmp_path: Path, write: object, says: str
) -> None:
    """Nothing is published."""
    report = tmp_path / "report.json"
    write(report, sha256(saved))  # type: ignore[operator]
    with pytest.raises(SystemExit, match=says):
        _export(saved, tmp_path / "models", "--evaluation", str(report))
    assert not (tmp_path / "models").exists()


def test_a_bad_checkpoint_leaves_nothing(model: MemoryAugmentedGRU, tmp_path: Path) -> None:
    """The message names the key."""
    tensors = dict(model.state_dict())
    del tensors["fusion.3.bias"]
    path = tmp_path / "bad.pt"
    torch.save({"model_state_dict": tensors}, path)
    with pytest.raises(SystemExit, match=r"missing fusion\.3\.bias; nothing was published"):
        _export(path, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_graph_that_differs_leaves_nothing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without parity is not published."""
    monkeypatch.setattr(parity, "BOUND", 0.0)
    with pytest.raises(SystemExit, match="the graph differs from PyTorch"):
        _export(saved, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_version_that_exists_is_refused_before_any_work(tmp_path: Path) -> None:
    """Even before the checkpoint is opened."""
    (tmp_path / "next-vector" / "phase-3").mkdir(parents=True)
    with pytest.raises(SystemExit, match="choose another --version or remove it"):
        _export(tmp_path / "absent.pt", tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("--version", "../up"),
        ("--version", ".partial-x"),
        ("--version", ""),
        ("--version", "a" * 65),
        ("--version", "a b"),
        ("--version", "a\n"),
        ("--model", "a/b"),
        ("--context-window", "0"),
        ("--context-window", "-5"),
        ("--context-window", "1e3"),
        ("--context-window", "65537"),
        ("--context-window", "٣"),
        ("--window-policy", "sliding"),
    ],
)
def test_bad_names_and_windows_are_refused_up_front(
    tmp_path: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the usage and the name of the option."""
    assert 2 == _export(tmp_path / "absent.pt", tmp_path / "models", *options)
    assert options[0] in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
