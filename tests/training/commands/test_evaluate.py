"""`nextvec evaluate`: both held-out sets, one pool each, and nothing that was trained on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import checkpoint
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from corpora import corpus
from corpora.corpus import Corpus
from service.cli import main
from service.evaluation_report import METRICS
from service.manifest import sha256
from training import held_out

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> MemoryAugmentedGRU:
    torch.manual_seed(1)
    return MemoryAugmentedGRU().eval()


def _save(model: MemoryAugmentedGRU, small: Corpus, path: Path, hold_out: str) -> Path:
    train = held_out.split(small, hold_out).train  # type: ignore[arg-type]
    checkpoint.save(
        model, path, {"window": "8", **held_out.metadata(train, hold_out, "dataset digest")}
    )
    return path


@pytest.fixture
def saved(model: MemoryAugmentedGRU, small: Corpus, tmp_path: Path) -> Path:
    """Trained on neither set."""
    return _save(model, small, tmp_path / "tiny.safetensors", "both")


def _evaluate(data: Path, out: Path, *arguments: str) -> dict[str, object]:
    options = ["--data", str(data), "--out", str(out), "--pool", "30"]
    assert 0 == main(["evaluate", *options, *arguments])
    read: dict[str, object] = json.loads((out / "report.json").read_text())
    return read


def test_models_stand_beside_rules_on_both_sets(
    saved: Path, small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows of a set on one pool, which the report states with its digest."""
    out = tmp_path / "out"
    report = _evaluate(small_file, out, str(saved), f"{saved}:20")
    assert sha256(small_file) == report["data"]["sha256"]
    assert ["eras", "latest"] == [one["name"] for one in report["sets"]]
    for one in report["sets"]:
        names = [score["name"] for score in one["scores"]]
        assert ["tiny (window 8)", "tiny (window 20)", "repeat the last vector"] == names[:3]
        assert ["mean of the last 2", "mean of the last 5"] == names[3:5]
        assert ["model"] * 2 + ["baseline"] * 5 == [score["kind"] for score in one["scores"]]
        assert sha256(saved) == one["scores"][0]["checkpoint_sha256"]
        pool = one["pool"]
        assert ("random", 30, 0) == (pool["kind"], pool["size"], pool["seed"])
        assert (one["name"], sha256(small_file)) == (pool["set"], pool["dataset_digest"])
        for score in one["scores"]:
            assert score["held_out"] is True
            for name in METRICS[:-1]:
                assert 0 <= score[name]["low"] <= score[name]["value"] <= score[name]["high"] <= 1
    assert report["sets"][0]["pool"]["digest"] != report["sets"][1]["pool"]["digest"]
    assert b"\x89PNG" == (out / "report.png").read_bytes()[:4]
    markdown = (out / "report.md").read_text()
    assert "Held out: eras (every eighth document)" in markdown
    assert "Pool: 30 random positions (seed 0) of 40 vectors in 2 documents" in markdown
    assert "chance Hit@5 16.7 %" in markdown
    assert markdown in capsys.readouterr().out


def test_differences_are_paired_and_named(saved: Path, small_file: Path, tmp_path: Path) -> None:
    """Later model minus earlier one, every model minus every rule, for every metric."""
    report = _evaluate(small_file, tmp_path / "out", str(saved), f"{saved}:20")
    one = report["sets"][0]
    value = {score["name"]: score["hit_at_5"]["value"] for score in one["scores"]}
    assert (1 + 2 * 5) * len(METRICS) == len(one["differences"])
    first = one["differences"][0]
    assert ("tiny (window 20)", 20, "tiny (window 8)", 8) == (
        first["a"],
        first["a_window"],
        first["b"],
        first["b_window"],
    )
    for item in one["differences"]:
        if item["metric"] == "hit_at_5":
            assert value[item["a"]] - value[item["b"]] == pytest.approx(item["difference"])
            assert item["low"] <= item["difference"] + 1e-12
            assert item["difference"] - 1e-12 <= item["high"]


def test_what_was_trained_on_is_withheld(
    model: MemoryAugmentedGRU, small: Corpus, small_file: Path, saved: Path, tmp_path: Path
) -> None:
    """The row says so and names a document; the other set is scored."""
    leaky = _save(model, small, tmp_path / "leaky.safetensors", "eras")
    out = tmp_path / "out"
    report = _evaluate(small_file, out, str(leaky), str(saved))
    eras, latest = report["sets"]
    assert "hit_at_5" in eras["scores"][0]
    row = latest["scores"][0]
    assert (False, ["document 14"]) == (row["held_out"], row["seen_documents"])
    assert "hit_at_5" not in row
    assert not [item for item in latest["differences"] if "leaky" in item["a"] + item["b"]]
    assert (
        "leaky (window 8): **not held out for this model**, trained on 1 of the 2"
        in (out / "report.md").read_text()
    )


def test_what_was_trained_on_is_scored_when_asked_for(
    model: MemoryAugmentedGRU, small: Corpus, small_file: Path, tmp_path: Path
) -> None:
    """The report still says so."""
    leaky = _save(model, small, tmp_path / "leaky.safetensors", "eras")
    out = tmp_path / "out"
    report = _evaluate(small_file, out, str(leaky), "--include-seen")
    row = report["sets"][1]["scores"][0]
    assert row["held_out"] is False
    assert 0 <= row["hit_at_5"]["value"] <= 1
    assert "not held out for this model" in (out / "report.md").read_text()


def test_a_model_that_saw_both_sets_is_refused(
    model: MemoryAugmentedGRU, small: Corpus, small_file: Path, tmp_path: Path
) -> None:
    """The message names the documents."""
    path = tmp_path / "all.safetensors"
    checkpoint.save(model, path, {"window": "8", **held_out.metadata(small, "none", "digest")})
    with pytest.raises(SystemExit, match=r"eras: 2 of 2 \(document 7, document 15\); latest: 2"):
        _evaluate(small_file, tmp_path / "out", str(path))


def test_a_checkpoint_that_names_no_documents_says_so(
    model: MemoryAugmentedGRU, small_file: Path, tmp_path: Path
) -> None:
    """Unknown is neither held out nor seen, until the caller says what was held out."""
    path = tmp_path / "mute.safetensors"
    checkpoint.save(model, path, {"window": "8"})
    out = tmp_path / "out"
    unknown = _evaluate(small_file, out, str(path))
    assert [None, None] == [one["scores"][0]["held_out"] for one in unknown["sets"]]
    assert "does not say what it was trained on" in (out / "report.md").read_text()
    stated = _evaluate(small_file, out, str(path), "--held-out", "eras")
    assert [True, False] == [one["scores"][0]["held_out"] for one in stated["sets"]]


@pytest.mark.parametrize(
    ("checkpoints", "more", "says"),
    [
        ([], [], "pass at least one checkpoint"),
        (["{dir}/absent.safetensors"], [], "no such file"),
        (["{dir}/bare.safetensors"], [], "does not say its window; write .*:500"),
        (["{dir}/tiny.safetensors:0"], [], "does not say its window"),
        (["{dir}/tiny.safetensors", "{dir}/tiny.safetensors:8"], [], "given twice"),
        (["{dir}/tiny.safetensors:40"], [], "set eras has 40 vectors: too few to fill the window"),
        (
            ["sweep", "{dir}/tiny.safetensors:40"],
            ["--vary", "pool"],
            "too few to fill the window of tiny",
        ),
        (["sweep", "{dir}/tiny.safetensors"], [], "pass what to vary with --vary"),
        (["{dir}/tiny.safetensors"], ["--pool", "40"], "set eras: .* choose from 1 to 39"),
        (["{dir}/tiny.safetensors"], ["--pool", "0"], "choose from 1 to 39"),
        (["{dir}/tiny.safetensors"], ["--data", "absent.npz"], "not a readable .npz"),
        (["{dir}/odd.safetensors"], [], "odd.safetensors: metadata trained_documents"),
    ],
)
def test_a_wrong_request_is_refused(
    model: MemoryAugmentedGRU,
    saved: Path,
    small_file: Path,
    tmp_path: Path,
    checkpoints: list[str],
    more: list[str],
    says: str,
) -> None:
    """Before anything is computed or written."""
    checkpoint.save(model, tmp_path / "bare.safetensors", {})
    odd = {"window": "8", held_out.DOCUMENTS: "nonsense"}
    checkpoint.save(model, tmp_path / "odd.safetensors", odd)
    out = tmp_path / "out"
    given = [text.format(dir=saved.parent) for text in checkpoints]
    with pytest.raises(SystemExit, match=says):
        main(["evaluate", *given, "--data", str(small_file), "--out", str(out), *more])
    assert not out.exists()


def test_a_corpus_without_held_out_documents_is_refused(
    saved: Path, small: Corpus, tmp_path: Path
) -> None:
    """Seven documents leave none for every eighth."""
    path = tmp_path / "few.npz"
    corpus.save(path, small.of_documents(np.arange(16) < 7))
    with pytest.raises(SystemExit, match="set eras has 0 vectors: too few"):
        main(["evaluate", str(saved), "--data", str(path), "--out", str(tmp_path / "out")])


@pytest.fixture(scope="module")
def plain(
    model: MemoryAugmentedGRU, small: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a checkpoint, its corpus and its report, to be copied."""
    folder = tmp_path_factory.mktemp("plain")
    corpus.save(folder / "data.npz", small)
    saved = _save(model, small, folder / "tiny.safetensors", "both")
    _evaluate(folder / "data.npz", folder, str(saved))
    return folder


def test_reports_on_the_same_pool_compare(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each evaluated alone, they give what one evaluation of both gives."""
    data, saved = plain / "data.npz", plain / "tiny.safetensors"
    _evaluate(data, tmp_path / "b", f"{saved}:20")
    together = _evaluate(data, tmp_path / "both", str(saved), f"{saved}:20")
    capsys.readouterr()
    reports = [str(folder / "report.json") for folder in (plain, tmp_path / "b")]
    assert 0 == main(["evaluate", "compare", *reports])
    printed = capsys.readouterr().out
    for one in together["sets"]:
        gap = next(item for item in one["differences"] if item["metric"] == "hit_at_5")
        points = (100 * gap[key] + 0.0 for key in ("difference", "low", "high"))
        value, low, high = (f"{point:+.1f}" for point in points)
        assert f"{value} [{low}, {high}]" in printed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pool", "20"], "pool's size is 30 in one and 20 in the other"),
        (["--seed", "1"], "pool's seed is 0 in one and 1 in the other"),
        (["--pool-kind", "contiguous"], "pool's kind is random in one and contiguous"),
    ],
)
def test_reports_on_different_pools_do_not_compare(
    plain: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    """Two pools give two scores for one model; the difference would come from the pools."""
    _evaluate(plain / "data.npz", tmp_path, str(plain / "tiny.safetensors"), *options)
    reports = [str(folder / "report.json") for folder in (plain, tmp_path)]
    with pytest.raises(SystemExit, match=says):
        main(["evaluate", "compare", *reports])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "report.json").unlink(), "not a report"),
        (lambda folder: (folder / "report.json").write_text("[]"), "not a report"),
        (
            lambda folder: (folder / "report.json").write_text('{"schema_version": 1}'),
            "schema_version: Input should be 2; evaluate again",
        ),
        (
            lambda folder: (folder / "report.npz").unlink(),
            "not the scores that nextvec evaluate writes",
        ),
        (
            lambda folder: (folder / "report.npz").write_text("x"),
            "not the scores that nextvec evaluate",
        ),
    ],
)
def test_a_damaged_report_is_refused(plain: Path, tmp_path: Path, spoil: object, says: str) -> None:
    """The message names it."""
    for name in ("report.json", "report.npz"):
        shutil.copy(plain / name, tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    report = str(tmp_path / "report.json")
    with pytest.raises(SystemExit, match=says):
        main(["evaluate", "compare", report, report])


def test_a_document_on_both_sides_is_refused(saved: Path, small: Corpus, tmp_path: Path) -> None:
    """Under another name: evaluation and training both name the two documents."""
    vectors = small.vectors.copy()
    vectors[7 * 20 : 8 * 20] = vectors[3 * 20 : 4 * 20]
    data, out = tmp_path / "copied.npz", tmp_path / "out"
    corpus.save(data, replace(small, vectors=vectors))
    for command in (["evaluate", str(saved), "--pool", "30"], ["train", "phase-2"]):
        with pytest.raises(SystemExit, match=r"document 7 shares 20 of its 20 .* document 3"):
            main([*command, "--data", str(data), "--out", str(out)])
    assert not out.exists()
