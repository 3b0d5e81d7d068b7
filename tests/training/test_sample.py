"""A sample is cut from held-out documents alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora import corpus
from corpora.corpus import Corpus
from training import sample


def test_a_sample_is_the_end_of_the_held_out_stream(
    small: Corpus, small_file: Path, tmp_path: Path
) -> None:
    """Its documents are renumbered, and the same corpus gives the same bytes."""
    for name in ("a.npz", "b.npz"):
        sample.main(["--data", str(small_file), "--out", str(tmp_path / name), "--vectors", "25"])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    cut = corpus.load(tmp_path / "a.npz")
    assert ("document 7", "document 15") == cut.documents
    assert [0] * 5 + [1] * 20 == cut.document_id.tolist()
    held_out = corpus.split_every(small).held_out
    assert 0.999 < (cut.vectors * held_out.vectors[-25:]).sum(axis=1).min()


@pytest.mark.parametrize("vectors", ["0", "41", "-3"])
def test_a_sample_larger_than_the_held_out_part_is_refused(
    small_file: Path, tmp_path: Path, vectors: str
) -> None:
    """Training documents are never shipped as held out."""
    with pytest.raises(SystemExit, match="cannot be cut from 40"):
        sample.main(
            ["--data", str(small_file), "--out", str(tmp_path / "s.npz"), "--vectors", vectors]
        )
    assert not (tmp_path / "s.npz").exists()
