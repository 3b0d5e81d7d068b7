"""Hit sequences of models in the sessions of a text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import checkpoint
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from corpora.corpus import Corpus
from service.cli import main
from service.manifest import Dimensions
from simulation import recorded_sessions
from training import session_hits
from training.evaluated_model import EvaluatedModel

DIM = 768


class _Adder(MemoryAugmentedGRU):
    """Predicts the last vector plus a constant."""

    def __init__(self, step: Tensor) -> None:
        super().__init__()
        self._step = step

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(dim=DIM, layers=1, hidden=1)

    def forward(self, vectors: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        del state
        return self._step.expand_as(vectors), vectors.new_zeros(1, vectors.shape[1], 1)


def _text(sessions: int, length: int) -> Corpus:
    """Every session has a direction of its own, in which its vectors lie."""
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.standard_normal((sessions, DIM)), length, axis=0)
    rows += 0.3 * rng.standard_normal(rows.shape)
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return Corpus(vectors, np.zeros(len(rows), np.int32), ("one",))


def _model(step: Tensor) -> EvaluatedModel:
    return EvaluatedModel("adder", _Adder(step), 100, "digest", frozenset())


def test_a_model_that_knows_the_session_hits_and_one_that_does_not_rarely_does() -> None:
    sessions = session_hits.cut_sessions(_text(150, 6), 6)
    repeat = session_hits.score_sessions(_model(torch.zeros(DIM)), sessions, seed=0)
    assert repeat.shape == (150, 5)
    assert repeat.all()
    torch.manual_seed(0)
    away = session_hits.score_sessions(_model(10 * torch.randn(DIM)), sessions, seed=0)
    assert 0.0 < away.mean() < 0.2


def test_sessions_lie_in_one_document() -> None:
    text = _text(240, 3)
    documents = np.repeat([0, 1], [358, 362]).astype(np.int32)
    sessions = session_hits.cut_sessions(Corpus(text.vectors, documents, ("a", "b")), 3)
    assert sessions.shape == (119 + 120, 3, DIM)
    assert (sessions[119] == text.vectors[358:361]).all()


def test_too_few_sessions_and_too_long_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="gives 99 sessions of 3 vectors"):
        session_hits.cut_sessions(_text(99, 3), 3)
    model = _model(torch.zeros(DIM))
    session_hits.check_window(model, 101)
    with pytest.raises(ValueError, match="outgrow the window of adder"):
        session_hits.check_window(model, 102)


def test_the_command_writes_what_the_simulation_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _text(110, 4)
    path = tmp_path / "my text.npz"
    np.savez(
        path,
        vectors_int8=np.round(text.vectors * 400).astype(np.int8),
        scale=np.full(len(text.vectors), 1 / 400, np.float32),
    )
    model = tmp_path / "means.safetensors"
    checkpoint.save(DecayedMeans([0.5], 64), model, {"window": "8", "trained_documents": "[]"})
    command = ["evaluate", "hits", str(model), "--session-length", "4", "--out", str(tmp_path)]
    assert 0 == main([*command, "--foreign", str(path)])
    written = tmp_path / "hits-my-text.json"
    assert "| means (window 8) |" in capsys.readouterr().out
    found = recorded_sessions.load(written)
    assert ["means (window 8)"] == list(found.models)
    # The text is cut into twenty parts of 22 vectors, each of five sessions.
    assert found.models["means (window 8)"].shape == (100, 3)
    assert 4 == json.loads(written.read_text())["session_length"]
    with pytest.raises(SystemExit, match="pass the text with --foreign"):
        main(command)
