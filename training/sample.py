"""Cuts the shipped sample from the held-out documents of a corpus.

    python -m training.sample --data corpus.npz --out corpora/data/sample.npz

The sample comes from the documents that `corpus.split_every` holds out, so no shipped model was
trained on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corpora import corpus
from corpora.corpus import Corpus, CorpusError


def last_vectors(held_out: Corpus, vectors: int) -> Corpus:
    """The last `vectors` of the stream, with documents renumbered from 0.

    Raises `ValueError` if there are fewer.
    """
    if not 1 <= vectors <= len(held_out.vectors):
        raise ValueError(f"{vectors} vectors cannot be cut from {len(held_out.vectors)}")
    kept, number = np.unique(held_out.document_id[-vectors:], return_inverse=True)
    return Corpus(
        held_out.vectors[-vectors:],
        number.astype(np.int32),
        tuple(held_out.documents[index] for index in kept),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the sample. The same corpus gives the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m training.sample", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the corpus (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="the sample (.npz)")
    parser.add_argument("--vectors", type=int, default=4000, help="(%(default)s)")
    args = parser.parse_args(argv)
    try:
        held_out = corpus.split_every(corpus.load(args.data)).held_out
        sample = last_vectors(held_out, args.vectors)
    except (CorpusError, ValueError) as error:
        raise SystemExit(f"python -m training.sample: {error}") from error
    args.out.parent.mkdir(parents=True, exist_ok=True)
    corpus.save(args.out, sample)
    print(
        f"{args.out}: {len(sample.vectors)} vectors of {len(sample.documents)} documents, "
        f"{sample.documents[0]} to {sample.documents[-1]}"
    )


if __name__ == "__main__":
    main()
