"""The shipped sample, and files in its format."""

from __future__ import annotations

import hashlib

from corpora import corpus
from corpora.sample import SAMPLE


def test_the_shipped_sample_matches_its_readme() -> None:
    """4,000 vectors of twelve documents, with the stated digest."""
    shipped = corpus.load(SAMPLE)
    assert (4000, 768) == shipped.vectors.shape
    readme = SAMPLE.with_name("README.md").read_text()
    assert 12 == len(shipped.documents)
    assert all(name in readme for name in shipped.documents)
    assert hashlib.sha256(SAMPLE.read_bytes()).hexdigest() in readme
