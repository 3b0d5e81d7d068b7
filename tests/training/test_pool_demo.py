"""The pool alone moves a score, and small pools say little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpora.corpus import Corpus
from service.cli import main
from training import pool_demo


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe 1998, table I, method 3, and the two reported figures.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (153, 230, 0.602, 0.723),
        (87, 115, 0.671, 0.826),
    ],
)
def test_the_score_interval(hits: int, of: int, low: float, high: float) -> None:
    """As published."""
    measured = pool_demo.wilson(hits, of)
    assert (low, high) == pytest.approx(measured, abs=5e-4)


def test_half_the_candidates_score_more(monkeypatch: pytest.MonkeyPatch, small: Corpus) -> None:
    """The same rule on the same text."""
    monkeypatch.setattr(pool_demo, "POOLS", ((30, 10), (15, 20)))
    vectors = np.repeat(small.vectors, 2, axis=0)[:320]
    text = pool_demo.demonstrate(Corpus(vectors, small.document_id, small.documents))
    assert "30 candidates, one every 10 vectors" in text
    assert "15 candidates, one every 20 vectors" in text
    assert "| 153 of 230 | 66.52 | 60.2 to 72.3 (±6.1) |" in text
    assert "| 87 of 115 | 75.65 | 67.1 to 82.6 (±7.8) |" in text


def test_a_short_corpus_is_refused(small_file: Path) -> None:
    """The message says how many vectors are needed, or that a corpus is needed."""
    with pytest.raises(SystemExit, match="needs a corpus of 57501 vectors; this one has 320"):
        main(["evaluate", "pools", "--data", str(small_file)])
    with pytest.raises(SystemExit, match="pass the data set with --data"):
        main(["evaluate", "pools"])
