"""Intervals resample documents, and differences are paired."""

from __future__ import annotations

import numpy as np
import pytest

from service.evaluation_report import Estimate
from training.bootstrap import DocumentBootstrap


def _of(values: object, document: object) -> Estimate:
    return DocumentBootstrap(np.asarray(document, np.int32)).estimate(np.asarray(values, float))


def test_one_document_gives_no_width() -> None:
    """Resampling one document gives the same mean each time."""
    assert Estimate(0.5, 0.5, 0.5) == _of([0, 1, 1, 0], [0, 0, 0, 0])


def test_the_interval_is_the_documents_spread() -> None:
    """Two documents, all hits and none: means of 0, 1/2 and 1 with odds 1:2:1."""
    assert Estimate(0.5, 0.0, 1.0) == _of(np.repeat([0, 1], 50), np.repeat([3, 8], 50))


def test_a_document_weighs_as_many_positions_as_it_has() -> None:
    """The value is the mean over positions, not over documents."""
    assert 0.75 == _of([0, 1, 1, 1], [0, 1, 1, 1]).value


@pytest.mark.slow
def test_the_interval_is_wider_than_one_by_position() -> None:
    """Positions of a document are correlated: 40 documents are 40 samples, not 2,000."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(40), 50)
    by_document = _of(values, np.repeat(np.arange(40), 50))
    by_position = _of(values, np.arange(2000))
    assert 4 * (by_position.high - by_position.low) < by_document.high - by_document.low
    assert by_document.low < values.mean() < by_document.high


def test_a_paired_difference_cancels_what_documents_share() -> None:
    """Documents differ widely, the two sides by 0.1 always: the interval has no width."""
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.random(20), 10)
    bootstrap = DocumentBootstrap(np.repeat(np.arange(20), 10).astype(np.int32))
    apart, paired = bootstrap.estimates(np.stack([shared, shared + 0.1 - shared], axis=1))
    assert 0.05 < apart.high - apart.low
    assert (0.1, 0.1) == pytest.approx((paired.low, paired.high))


@pytest.mark.slow
def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 200 draws of 60 documents, the truth lies in about 95 %: at least 88 %."""
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(60), 5).astype(np.int32)
    covered = 0
    for _ in range(200):
        truth = rng.normal(size=60).repeat(5) + rng.normal(size=300)
        found = DocumentBootstrap(document, seed=0, resamples=500).estimate(truth)
        covered += found.low <= 0 <= found.high
    assert 176 <= covered <= 200
