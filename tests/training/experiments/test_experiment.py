"""Two arms, one start: what they are given, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from corpora.corpus import Corpus
from service.cli import main
from service.evaluation_report import Estimate
from training import held_out, recipe
from training.experiments import experiment, verdict
from training.experiments.experiment import ExperimentArm
from training.experiments.negatives import mine

pytestmark = pytest.mark.slow

TINY = replace(
    recipe.load(Path(recipe.__file__).parent / "recipes" / "phase-2.toml"),
    window=8,
    batch=8,
    epochs=1,
)


def _silent(_done: int, _total: int, _text: str) -> None:
    pass


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.004, 0.009, "plateau"),
        # Surely more than nothing, and surely less than the margin.
        (0.001, 0.009, "plateau"),
        (0.001, 0.02, "change"),
        (-0.03, -0.001, "change"),
        (-0.004, 0.02, "undecided"),
        (-0.02, 0.02, "undecided"),
    ],
)
def test_a_plateau_is_an_interval_within_the_margin(low: float, high: float, word: str) -> None:
    """A non-significant difference does not show that there is none."""
    found = verdict.plateau(Estimate((low + high) / 2, low, high), margin=0.01)
    assert word == found.word
    assert f"[{100 * low:+.2f}, {100 * high:+.2f}]" in found.reason


@pytest.mark.parametrize(
    ("hit_5", "hit_10", "word"),
    [
        ((0.005, 0.02), (0.015, 0.03), "keep"),
        ((0.004, 0.02), (0.015, 0.03), "undecided"),
        ((0.006, 0.02), (0.010, 0.03), "undecided"),
        ((0.006, 0.02), (0.001, 0.014), "drop"),
        ((-0.01, 0.004), (0.02, 0.03), "drop"),
        ((-0.01, 0.03), (-0.01, 0.03), "undecided"),
    ],
)
def test_hard_negatives_are_kept_only_when_both_gains_are_sure(
    hit_5: tuple[float, float], hit_10: tuple[float, float], word: str
) -> None:
    """0.5 points of Hit@5 and 1.5 of Hit@10."""
    assert (
        word
        == verdict.probe(Estimate(sum(hit_5) / 2, *hit_5), Estimate(sum(hit_10) / 2, *hit_10)).word
    )


def test_negatives_are_the_nearest_in_the_band() -> None:
    """Neither the target nor vectors that are too similar; -1 if there are no more."""
    angles = np.radians([0, 10, 30, 35, 38, 42, 90])
    bank = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # Cosines 0.75 and 0.90 are 41.4 and 25.8 degrees.
    mined = mine(bank[[0, 6]], bank, 0.75, 0.90, most=2)
    assert [[2, 3], [-1, -1]] == mined.rows.tolist()
    assert 0.5 == mined.share
    vectors, present = mined(np.array([1, 0]))
    assert [[False, False], [True, True]] == present.tolist()
    np.testing.assert_array_equal(bank[[2, 3]], vectors[1])


def test_a_thin_split_keeps_documents_whole(small: Corpus) -> None:
    """As many documents as the share, from all eras; the held-out ones stay."""
    split = held_out.split(small, "both")
    thin = experiment.thin(split, 0.25)
    assert [0, 4, 9] == np.unique(thin.train.document_id).tolist()
    assert 60 == len(thin.train.vectors)
    assert split.held_out is thin.held_out
    with pytest.raises(ValueError, match=r"share of 1\.5"):
        experiment.thin(split, 1.5)


def test_arms_that_are_the_same_do_not_differ(small: Corpus) -> None:
    """Same start, same batches, same seed: every difference is 0, on both held-out sets."""
    split = held_out.split(small, "both")
    arms = (ExperimentArm("one", TINY), ExperimentArm("other", TINY))
    found = experiment.run(small, split, arms, None, lambda _name: _silent)
    assert ["eras", "latest"] == [result.name for result in found.results]
    for result in found.results:
        assert (2, 39) == (result.documents, result.positions)
        assert {Estimate(0.0, 0.0, 0.0)} == {item.estimate for item in result.differences}


def test_only_sets_held_out_whole_are_scored(small: Corpus) -> None:
    """Training on all but every eighth document has seen the latest ones."""
    split = held_out.split(small, "eras")
    negatives = mine(split.train.vectors, split.train.vectors, 0.3, 0.9, most=2)
    arms = (ExperimentArm("without", TINY), ExperimentArm("with", TINY, negatives))
    found = experiment.run(small, split, arms, None, lambda _name: _silent)
    assert ["eras"] == [result.name for result in found.results]
    assert any(item.estimate != Estimate(0.0, 0.0, 0.0) for item in found.results[0].differences)


@pytest.mark.parametrize("part", ["plateau", "probe"])
def test_the_command_gives_a_verdict_with_its_interval(
    part: str, small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For each set, as text and as JSON."""
    out = tmp_path / "out"
    options = ["--data", str(small_file), "--out", str(out), "--window", "8", "--share", "1"]
    assert 0 == main(["experiment", part, *options])
    content = json.loads((out / f"{part}.json").read_text())
    assert {"eras", "latest"} == content["verdicts"].keys()
    printed = capsys.readouterr().out
    for name, found in content["verdicts"].items():
        assert f"**{name}: {found['word']}.** {found['reason']}." in printed
    assert (
        "The interval covers the choice of documents, not the choice of the seed."
        in (out / f"{part}.md").read_text()
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--share", "0"], r"share of 0\.0"),
        (["--epochs", "0"], "epochs: Input should be greater than 0"),
        (["--window", "500"], "too few for a window of 500"),
        (["--start", "absent.safetensors"], "no such file"),
        (["--start", "{dir}/leaky.safetensors"], "trained on 1 of the held-out documents"),
        (["--data", "absent.npz"], "not a readable .npz"),
    ],
)
def test_a_wrong_experiment_is_refused(
    small: Corpus, small_file: Path, tmp_path: Path, more: list[str], says: str
) -> None:
    """The message says what to do, and nothing is written."""
    torch.manual_seed(0)
    said = held_out.metadata(held_out.split(small, "eras").train, "eras", "digest")
    checkpoint.save(MemoryAugmentedGRU(), tmp_path / "leaky.safetensors", said)
    out = tmp_path / "out"
    given = [text.format(dir=tmp_path) for text in more]
    options = ["--data", str(small_file), "--out", str(out), "--window", "8", "--share", "1"]
    with pytest.raises(SystemExit, match=says):
        main(["experiment", "plateau", *options, *given])
    assert not out.exists()
