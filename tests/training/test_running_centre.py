"""The GRU that is made from statistics computes the filter bank that it is made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import checkpoint
from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import PARAMETERS, SLOTS
from corpora.packed_corpus import open_corpus, save_packed
from tests.support.corpus_fakes import make_corpus
from training import held_out
from training.running_centre import FilterBank, fit_filter_bank, running_centre_gru
from training.running_centre_checkpoint import main


@pytest.fixture(scope="module")
def bank() -> FilterBank:
    return fit_filter_bank(make_corpus(40, 30).vectors)


def test_the_model_steps_as_the_bank_and_the_mix_say(bank: FilterBank) -> None:
    """In direction, and by the one length that was asked for."""
    stream = make_corpus(1, 60, seed=5).vectors
    mix = bank.initial_mix(0.35, 0.35)
    slots = np.resize(stream, (SLOTS, 768)).astype(np.float32)
    model = running_centre_gru(bank, mix, 2.5, slots)
    with torch.inference_mode():
        step = model(torch.from_numpy(stream[:, None]))[0][:, 0].numpy()
    expected = bank.states(stream) @ mix
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    length = np.linalg.norm(step, axis=1)
    np.testing.assert_allclose(length, 2.5, atol=0.01)
    assert ((step / length[:, None]) * expected).sum(axis=1).min() > 0.98


def test_the_slow_units_take_the_texts_own_centre_away(bank: FilterBank) -> None:
    """A text that stays at one place: the slow mean catches up, and its share is subtracted."""
    stream = np.repeat(make_corpus(1, 1, seed=7).vectors, 2000, axis=0)
    states = bank.states(stream)[-1]
    np.testing.assert_allclose(states[bank.fast :], states[: bank.slow], atol=1e-3)
    kept, whole = (states @ bank.initial_mix(share, 0.0) for share in (1.0, 0.0))
    leading = bank.basis[:, : bank.slow]
    assert np.abs(kept @ leading).max() < 1e-3 < np.abs(whole @ leading).max()


@pytest.mark.slow
def test_the_command_writes_a_checkpoint_that_lists_its_documents(
    small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "phase-3.safetensors"
    main(["phase-3", "--data", str(small_file), "--out", str(out)])
    known = checkpoint.metadata(out)
    assert known["window"] == "1000"
    assert len(held_out.training_documents(known) or ()) == 14
    assert checkpoint.load(out).trainable == PARAMETERS


def test_decayed_means_take_the_texts_own_centre_away(small_file: Path, tmp_path: Path) -> None:
    """Phase-3c predicts nothing of what a long text has in common."""
    out = tmp_path / "phase-3c.safetensors"
    main(["phase-3c", "--data", str(small_file), "--out", str(out)])
    model = checkpoint.load(out)
    assert isinstance(model, DecayedMeans)
    assert "1000" == checkpoint.metadata(out)["window"]
    scale = model.scale.detach().numpy()
    assert scale[-1] < 0 < scale[:-1].min()
    again = tmp_path / "again.safetensors"
    main(["phase-3c", "--data", str(small_file), "--out", str(again)])
    assert out.read_bytes() == again.read_bytes()


def test_a_genre_can_be_left_out(small_file: Path, tmp_path: Path) -> None:
    packed = open_corpus(small_file)
    labelled = tmp_path / "labelled.npz"
    genres = tuple("law" if number < 4 else "books" for number in range(len(packed.documents)))
    values, scale, document_id = packed.vectors_int8, packed.scale, packed.document_id
    corpus = type(packed)(values, scale, document_id, packed.documents, genres, genres)
    save_packed(labelled, corpus)
    out = tmp_path / "phase-3c.safetensors"
    command = ["phase-3c", "--data", str(labelled), "--out", str(out), "--hold-out-genre"]
    main([*command, "law"])
    used = held_out.training_documents(checkpoint.metadata(out)) or frozenset()
    assert not used & set(packed.documents[:4])
    with pytest.raises(SystemExit, match="no document is of the genre or source 'poems'"):
        main([*command, "poems"])
    with pytest.raises(SystemExit, match="no document is left"):
        main([*command, "law", "--hold-out-genre", "books"])
