"""Runs by what they cost: a table, a picture, and a refusal of other pools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from service.cli import main
from training.checkpoint_store import CheckpointStore, TrainingState


def _history(path: Path, name: str, hold_out: str = "eras", **changed: object) -> Path:
    """Two epochs of 1,000 vectors in 10 s; the first is the better."""
    epochs = [
        {
            "epoch": number,
            "loss": 1.0,
            "cosine": 0.4,
            "hit_at_5": hit,
            "seconds": 10.0,
            "vectors_per_second": 100.0,
        }
        for number, hit in ((1, 0.3), (2, 0.2))
    ]
    content = {
        "recipe": {"name": name, "window": 500},
        "history": epochs,
        "data": {"dataset_sha256": "ab" * 32, "hold_out": hold_out},
        **changed,
    }
    path.write_text(json.dumps(content))
    return path


def test_runs_stand_beside_each_other_by_vectors_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row a run: vectors and seconds an epoch, speed, total vectors, the best epoch."""
    paths = [_history(tmp_path / f"{name}.json", name) for name in ("dense", "last")]
    out = tmp_path / "out"
    assert 0 == main(["evaluate", "curves", *map(str, paths), "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| dense | 2 | 1,000 | 10 | 100 | 2,000 | 30.0 | 1,000 |" in printed
    assert "| last | 2 | 1,000 | 10 | 100 | 2,000 | 30.0 | 1,000 |" in printed
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_not_over_stands_there_by_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name says that it is unfinished."""
    ended = _history(tmp_path / "ended.json", "ended")
    epochs = json.loads(ended.read_text())["history"]
    run = {
        "recipe": {"name": "going", "window": 500},
        "dataset_sha256": "ab" * 32,
        "hold_out": "eras",
    }
    going = tmp_path / "going.unfinished.pt"
    place = TrainingState(epochs[:1], {}, torch.zeros(0), 1, {}, {}, {})
    CheckpointStore(going, json.dumps(run)).save(place)
    assert 0 == main(["evaluate", "curves", str(going), str(ended), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| going (unfinished) | 1 | 1,000 | 10 | 100 | 1,000 | 30.0 | 1,000 |" in printed


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"hold_out": "latest"}, "holds out eras of .* and .* latest .*: their pools differ"),
        ({"recipe": {"name": "b", "window": 1000}}, "window of 500 and .* window of 1000"),
        ({"data": {}}, "not the history of a run .*KeyError"),
        ({"history": [{"epoch": 1}]}, "not the history of a run .*TypeError"),
        ({"history": []}, "has no finished epoch"),
    ],
)
def test_runs_that_do_not_compare_are_refused(
    tmp_path: Path, changed: dict[str, str], says: str
) -> None:
    """The message names the file and the reason."""
    paths = [_history(tmp_path / "a.json", "a"), _history(tmp_path / "b.json", "b", **changed)]
    with pytest.raises(SystemExit, match=says):
        main(["evaluate", "curves", *map(str, paths), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["absent.json", "absent.unfinished.pt"])
def test_a_missing_history_is_refused(tmp_path: Path, name: str) -> None:
    """The message names it."""
    with pytest.raises(SystemExit, match=f"{name}: not the history"):
        main(["evaluate", "curves", str(tmp_path / name)])
