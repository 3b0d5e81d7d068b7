"""Sequences from a corpus on the device, its splits, and staged recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corpora.corpus import CorpusError
from corpora.packed_corpus import PackedCorpus
from service.cli import main
from training.recipe import RecipeError
from training.stages import recipe
from training.stages.device_corpus import DeviceCorpus, document_weights
from training.stages.split import split

_LENGTHS = (30, 5, 25)


@pytest.fixture
def packed() -> PackedCorpus:
    rng = np.random.default_rng(0)
    total = sum(_LENGTHS)
    return PackedCorpus(
        rng.integers(-127, 128, (total, 768)).astype(np.int8),
        np.ones(total, np.float32),
        np.repeat(np.arange(3), _LENGTHS).astype(np.int32),
        ("long", "short", "medium"),
        ("books", "law", "law"),
        ("a", "b", "b"),
    )


def test_sequences_lie_in_documents_that_are_long_enough(packed: PackedCorpus) -> None:
    corpus = DeviceCorpus(packed, torch.device("cpu"), 0.5)
    generator = torch.Generator().manual_seed(0)
    batch = corpus.draw_sequences(10, 500, generator)
    owner = torch.from_numpy(packed.document_id.astype(np.int64))[batch.positions]
    long = batch.document != 1
    assert batch.positions.shape == (11, 500)
    assert (owner[:, long] == batch.document[long]).all()
    assert set(batch.positions[0, batch.document == 0].tolist()) == {*range(20)}
    assert batch.positions.max() == sum(_LENGTHS) - 1
    # A sequence of the short document runs on; the next one's first vector is no target.
    crossing = batch.positions[1:, batch.document == 1][:, 0]
    assert corpus.is_target(crossing).tolist() == [True] * 4 + [False] + [True] * 5


def test_vectors_are_of_unit_length_and_candidates_of_their_document(packed: PackedCorpus) -> None:
    corpus = DeviceCorpus(packed, torch.device("cpu"), 0.0)
    generator = torch.Generator().manual_seed(0)
    document = torch.tensor([0, 1, 2])
    own = corpus.draw_within(document, 50, generator)
    assert corpus.is_of(own, document.expand(50, 3)).all()
    torch.testing.assert_close(corpus.vectors(own).norm(dim=-1), torch.ones(50, 3))


def test_balance_evens_out_the_genres(packed: PackedCorpus) -> None:
    assert document_weights(packed, 0.0).tolist() == [30, 5, 25]
    even = document_weights(packed, 1.0)
    assert even[0] == pytest.approx(even[1] + even[2])


def test_a_genre_or_a_source_is_left_out_as_a_whole(packed: PackedCorpus) -> None:
    many = PackedCorpus(
        packed.vectors_int8,
        packed.scale,
        np.repeat(np.arange(30), 2).astype(np.int32),
        tuple(f"document {number}" for number in range(30)),
        ("books", "law", "letters") * 10,
        ("a", "b", "c") * 10,
    )
    parts = split(many, "eras", ["law"], ["c"])
    assert set(parts.train.genres) == {"books"}
    assert [(one.name, one.familiar) for one in parts.validation] == [
        ("validation", True),
        ("c", False),
    ]
    assert parts.held_out.sum() == 3 + 10 - 1  # every eighth, all of law, one of them in both
    with pytest.raises(CorpusError, match=r"genre or source 'verse'; genres: books, law, letters"):
        split(many, "eras", ["verse"])
    with pytest.raises(CorpusError, match="no document is left to train on"):
        split(many, "eras", ["books", "law", "letters"])


def test_a_copy_of_a_held_out_document_is_refused(packed: PackedCorpus) -> None:
    copied = packed.vectors_int8[np.tile(np.arange(5), 16)]
    twins = PackedCorpus(
        copied,
        np.ones(80, np.float32),
        np.repeat(np.arange(16), 5).astype(np.int32),
        tuple(f"document {number}" for number in range(16)),
        ("",) * 16,
        ("",) * 16,
    )
    with pytest.raises(CorpusError, match="shares 5 of its 5 vectors with training documents"):
        split(twins, "eras")


@pytest.mark.parametrize("name", ["phase-2-library", "phase-3-library"])
def test_the_shipped_staged_recipes_are_read(name: str) -> None:
    path = Path(recipe.__file__).parents[1] / "recipes" / f"{name}.toml"
    assert recipe.is_staged(path)
    chosen = recipe.load(path)
    assert (chosen.name, chosen.window) == (name, 500 if name.startswith("phase-2") else 1000)
    shorter = recipe.override(chosen, seed=3, epochs=2)
    assert (shorter.seed, {stage.epochs for stage in shorter.stages}) == (3, {2.0})


_STAGE = "[[stages]]\nwindow = 8\nbatch = 4\nlearning_rate = 1e-3\nfinal_learning_rate = 0.0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_STAGE, "give either seconds or epochs"),
        (_STAGE + "seconds = 1.0\nepochs = 1.0\n", "give either seconds or epochs"),
        (_STAGE.replace("8", "0") + "epochs = 1.0\n", r"stages\.0: window: .*greater than 0"),
        ("stages = []\n", "stages: .*at least 1 item"),
        (_STAGE + "epochs = 1.0\n[other]\n", "other: Unexpected"),
    ],
)
def test_a_wrong_staged_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('name = "wrong"\n' + text)
    with pytest.raises(RecipeError, match=message):
        recipe.load(path)


def test_a_recipe_without_stages_refuses_what_it_cannot_do(
    small_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--device", "cuda"], ["--hold-out-genre", "law"]):
        with pytest.raises(SystemExit, match="has no stages"):
            main(["train", "phase-2", "--data", str(small_file), *option])
    assert capsys.readouterr().out == ""
