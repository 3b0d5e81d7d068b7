"""Decayed Means: one matrix product over a context equals the recurrence, also in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from architectures import checkpoint
from architectures.checkpoint import CheckpointError
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import DIM
from model_export import graph_factory, gru_graph, parity
from model_export.parity import ParityCase
from model_export.torch_reference import TorchReference
from service.cli import main
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Manifest
from training import baselines

WIDTH = 64
CASES = (
    ParityCase.in_one_pass(1, 1),
    ParityCase.in_one_pass(3, 100),
    ParityCase.of_lengths((500, 1, 7, 100)),
    ParityCase.in_pieces(2, (10, 1, 89)),
)


@pytest.fixture(scope="module")
def means() -> DecayedMeans:
    """All weights are random, so that every folding error shows."""
    torch.manual_seed(3)
    model = DecayedMeans([0.5, 0.9, 0.99], WIDTH).eval()
    with torch.no_grad():
        model.centre.copy_(0.02 * torch.randn(DIM))
        model.basis.copy_(torch.linalg.qr(torch.randn(DIM, WIDTH)).Q)
        model.scale.copy_(torch.rand(4))
        model.mix.weight.normal_(std=0.05)
        model.mix.bias.normal_(std=0.05)
    return model


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return torch.from_numpy(parity.draw_walk(np.random.default_rng(1), time=60, batch=2))


def test_one_product_equals_the_recurrence(means: DecayedMeans, vectors: torch.Tensor) -> None:
    """Prediction and state equal those of single steps, in one pass and in pieces."""
    with torch.inference_mode():
        steps, state = means(vectors)
        whole, after = means.predict(vectors)
        _, half = means.predict(vectors[:25])
        pieces, after_pieces = means.predict(vectors[25:], half)
    torch.testing.assert_close(F.normalize(vectors[-1] + steps[-1], dim=-1), whole)
    torch.testing.assert_close(state, after)
    torch.testing.assert_close(whole, pieces)
    torch.testing.assert_close(after, after_pieces)


def test_predictions_at_positions_equal_those_of_shorter_contexts(
    means: DecayedMeans, vectors: torch.Tensor
) -> None:
    """For any vector of any row."""
    with torch.inference_mode():
        at, _ = means.predict_at(vectors, torch.tensor([9, 59]), torch.tensor([0, 1]))
        torch.testing.assert_close(means.predict(vectors[:10])[0][0], at[0])
        torch.testing.assert_close(means.predict(vectors)[0][1], at[1])


def test_an_untrained_model_can_equal_the_baseline_rule(vectors: torch.Tensor) -> None:
    """With one mean and a full basis it is the decayed centred mean."""
    model = DecayedMeans([0.7], DIM).eval()
    stream = vectors[:20, 0].numpy()
    with torch.no_grad():
        model.centre.copy_(torch.full((DIM,), 0.01))
        model.scale.copy_(torch.tensor([0.0, 1.0]))
        predicted, _ = model.predict(torch.from_numpy(stream[:, None]))
    rule = baselines.decayed_mean(0.7, np.full(DIM, 0.01, np.float32))
    expected = rule.predict(np.concatenate([stream, stream[:1]]), np.array([20]))
    np.testing.assert_allclose(expected, predicted.numpy(), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_graph_agrees_with_the_model(
    means: DecayedMeans, tmp_path: Path, precision: str
) -> None:
    """Ragged, in pieces and from a state: within 1e-5 of PyTorch in fp32, close in 8 bits."""
    path = tmp_path / "model.onnx"
    build = graph_factory.build if precision == "fp32" else graph_factory.build_step_int8
    path.write_bytes(gru_graph.serialise(build(means.weights())))
    engine = OnnxEngine(path, means.dimensions)
    if precision == "fp32":
        assert (
            parity.measure(TorchReference(means.weights()), engine, CASES).max_abs_difference
            <= 1e-5
        )
        return
    rows = parity.draw_walk(np.random.default_rng(2), time=1, batch=8)
    state = np.zeros((3, 8, WIDTH), np.float32)
    got, _ = engine.run(rows, np.ones(8, np.int32), state)
    with torch.inference_mode():
        expected, _ = means.predict(torch.from_numpy(rows))
    assert (got * expected.numpy()).sum(axis=1).min() > 0.999


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes(means: DecayedMeans) -> None:
    """A digest therefore identifies a version."""
    first, second = (gru_graph.serialise(graph_factory.build(means.weights())) for _ in range(2))
    assert first == second


def test_a_checkpoint_names_its_architecture(means: DecayedMeans, tmp_path: Path) -> None:
    """It is loaded with that architecture and its sizes."""
    path = tmp_path / "means.safetensors"
    checkpoint.save(means, path, {"window": "1000"})
    loaded = checkpoint.load(path)
    assert isinstance(loaded, DecayedMeans)
    assert means.dimensions == loaded.dimensions
    assert "decayed-means" == checkpoint.metadata(path)["architecture"]
    for key, value in means.state_dict().items():
        torch.testing.assert_close(value, loaded.state_dict()[key], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"decay": torch.zeros(0)}, r"decay has shape \[0\]"),
        ({"decay": torch.zeros(65)}, r"decay has shape \[65\], not \[1..64\]"),
        ({"basis": torch.zeros(DIM)}, "basis has shape"),
        ({"basis": torch.zeros(DIM, 8)}, "mix.weight has shape"),
        ({"mix.bias": torch.full((WIDTH,), float("nan"))}, "mix.bias has values that are NaN"),
    ],
)
def test_a_wrong_tensor_is_refused(
    means: DecayedMeans, tmp_path: Path, change: dict[str, torch.Tensor], says: str
) -> None:
    """The message names it."""
    path = tmp_path / "wrong.safetensors"
    tensors = {key: value.contiguous() for key, value in {**means.state_dict(), **change}.items()}
    save_file(tensors, path, metadata={"architecture": "decayed-means"})
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(path)


def test_an_unknown_architecture_is_refused(means: DecayedMeans, tmp_path: Path) -> None:
    """The message lists the known ones."""
    path = tmp_path / "other.safetensors"
    save_file(dict(means.state_dict()), path, metadata={"architecture": "transformer"})
    with pytest.raises(CheckpointError, match="'transformer'; known are memory-augmented-gru and"):
        checkpoint.load(path)


@pytest.mark.slow
def test_the_command_exports_it(means: DecayedMeans, tmp_path: Path) -> None:
    """The manifest contains the architecture, the sizes of the state and the parameters."""
    path = tmp_path / "means.safetensors"
    checkpoint.save(means, path, {"window": "1000"})
    command = ["export", str(path), "--version", "m", "--context-window", "1000"]
    with pytest.raises(SystemExit, match="--fp16 is for memory-augmented-gru"):
        main([*command, "--models", str(tmp_path / "models"), "--fp16"])
    assert 0 == main([*command, "--models", str(tmp_path / "models")])
    text = (tmp_path / "models" / "next-vector" / "m" / "manifest.json").read_text()
    manifest = Manifest.model_validate_json(text)
    assert ("decayed-means", 3, WIDTH) == (
        manifest.architecture,
        manifest.dimensions.layers,
        manifest.dimensions.hidden,
    )
    assert 4 * WIDTH * WIDTH + WIDTH + 4 == manifest.parameters
    assert {"fp32", "int8"} == set(manifest.precisions)
    assert manifest.parity.max_abs_difference <= 1e-5
