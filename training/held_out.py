"""The held-out document sets, and the checks that a model has not seen them.

There are two sets, which may overlap. `eras` is every eighth document, so training has seen its
neighbours in time. `latest` is the newest documents, so all of it is later than the training
documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corpora.corpus import Corpus, CorpusError, CorpusSplit
from corpora.packed_corpus import PackedCorpus

HoldOut = Literal["eras", "latest", "both"]

EVERY = 8
LATEST_FROM = 1999
"""The first year of `latest`, if documents are named after their year."""

DOCUMENTS = "trained_documents"
"""Metadata key of a checkpoint: the names of its training documents as a JSON list."""

_SAME_TEXT = 0.5
"""A document that shares a larger part of its vectors with others is a copy. Set phrases recur in
several documents, but half a document does not."""

_YEAR = re.compile(r"\d{4}(?!\d)")


@dataclass(frozen=True)
class HeldOutSet:
    """The vectors of one set as a stream; `rows` are their positions in the corpus.

    `digest` is the SHA-256 of the file, for a set that is not from the evaluated data set.
    """

    name: str
    description: str
    corpus: Corpus
    rows: NDArray[np.int64]
    digest: str | None = None

    @property
    def documents(self) -> tuple[str, ...]:
        return names(self.corpus)


def names(corpus: Corpus | PackedCorpus) -> tuple[str, ...]:
    """The documents with vectors in `corpus`, in reading order."""
    return tuple(corpus.documents[index] for index in np.unique(corpus.document_id))


def sets(corpus: Corpus) -> tuple[HeldOutSet, HeldOutSet]:
    """The sets `eras` and `latest`."""
    eras, latest = _masks(corpus.documents)
    first = corpus.documents[int(np.argmax(latest))]
    return (
        _chosen(corpus, eras, "eras", "every eighth document"),
        _chosen(corpus, latest, "latest", f"every document from {first} on"),
    )


def split(corpus: Corpus, hold_out: HoldOut) -> CorpusSplit:
    """Hold out the documents of `hold_out` and train on the others.

    Raises `CorpusError` if a held-out document is also, in copy, a training document.
    """
    held_out = mask(corpus.documents, hold_out)
    both = CorpusSplit(train=corpus.of_documents(~held_out), held_out=corpus.of_documents(held_out))
    check_no_copies(both.train, both.held_out)
    return both


def check_no_copies(train: Corpus, held_out: Corpus) -> None:
    """Raise `CorpusError`, naming both, if a held-out document is a copy of a training document.

    Detects copies under other names.
    """
    check_keys(
        KeyedDocuments(_keys(train), train.document_id, train.documents),
        KeyedDocuments(_keys(held_out), held_out.document_id, held_out.documents),
    )


@dataclass(frozen=True)
class KeyedDocuments:
    """Vectors by a hash of each of them, `[n]`, with the documents they are of."""

    keys: NDArray[np.uint64]
    document_id: NDArray[np.int32]
    documents: tuple[str, ...]

    @property
    def present(self) -> set[str]:
        """The documents that have vectors."""
        return {self.documents[index] for index in np.unique(self.document_id)}


def check_keys(train: KeyedDocuments, held_out: KeyedDocuments) -> None:
    """Raise `CorpusError` as `check_no_copies` does."""
    if shared := sorted(train.present & held_out.present):
        raise CorpusError(
            f"document {shared[0]} is both held out and trained on: give each document its own name"
        )
    known, keys = train.keys, held_out.keys
    if not len(known) or not len(keys):
        return
    order = np.argsort(known)
    position = np.searchsorted(known, keys, sorter=order)
    match = order[np.minimum(position, len(order) - 1)]
    same = known[match] == keys
    total = np.bincount(held_out.document_id, minlength=len(held_out.documents))
    copied = np.bincount(held_out.document_id[same], minlength=len(held_out.documents))
    for index in np.flatnonzero(copied > _SAME_TEXT * total):
        where = train.document_id[match[same & (held_out.document_id == index)]]
        other = train.documents[int(np.bincount(where).argmax())]
        raise CorpusError(
            f"held-out document {held_out.documents[index]} shares {copied[index]} of its "
            f"{total[index]} vectors with training documents, most with {other}: "
            "leave one of them out of the corpus"
        )


def mask(documents: Sequence[str], hold_out: HoldOut) -> NDArray[np.bool_]:
    """Which of the `documents`, in their order, `hold_out` holds out."""
    eras, latest = _masks(documents)
    return {"eras": eras, "latest": latest, "both": eras | latest}[hold_out]


def metadata(
    train: Corpus | PackedCorpus,
    hold_out: str,
    dataset_sha256: str,
    start: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The metadata of a checkpoint about its training documents.

    Includes those of the checkpoint it started from, whose metadata is `start`. If that one has
    no list, neither has this one, because the list would be incomplete.
    """
    source = {"hold_out": hold_out, "dataset_sha256": dataset_sha256}
    before = frozenset() if start is None else training_documents(start)
    if before is None:
        return source
    own = names(train)
    return {DOCUMENTS: json.dumps([*own, *sorted(before - set(own))]), **source}


def check_start(start: Mapping[str, str], held_out: Corpus | PackedCorpus) -> None:
    """Raise `CorpusError`, naming a document, if the start was trained on held-out documents."""
    if leaked := find_seen(training_documents(start), names(held_out)):
        raise CorpusError(
            f"the start was trained on {len(leaked)} of the held-out documents, {leaked[0]} "
            "first; hold out the documents that it held out, or train without --start"
        )


def training_documents(checkpoint_metadata: Mapping[str, str]) -> frozenset[str] | None:
    """The training documents listed in a checkpoint's metadata; None if there is no list.

    Raises `CorpusError` if the entry is not a list of names.
    """
    text = checkpoint_metadata.get(DOCUMENTS)
    if text is None:
        return None
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise CorpusError(f"metadata {DOCUMENTS} is not JSON: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise CorpusError(f"metadata {DOCUMENTS} is not a list of names")
    return frozenset(listed)


def find_seen(trained: frozenset[str] | None, documents: Sequence[str]) -> tuple[str, ...] | None:
    """The `documents` that were trained on; None if that is unknown."""
    return None if trained is None else tuple(name for name in documents if name in trained)


def _masks(documents: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of the documents in `eras` and in `latest`.

    `latest` are the documents named after a year from `LATEST_FROM` on. If no name has such a
    year, or all have, it is the last eighth.
    """
    number = np.arange(len(documents))
    years = [_YEAR.match(name) for name in documents]
    latest = np.array([year is not None and int(year[0]) >= LATEST_FROM for year in years])
    if not latest.any() or latest.all():
        latest = number >= len(number) - max(1, len(number) // EVERY)
    return number % EVERY == EVERY - 1, latest


def _chosen(
    corpus: Corpus, documents: NDArray[np.bool_], name: str, description: str
) -> HeldOutSet:
    rows = np.flatnonzero(documents[corpus.document_id])
    return HeldOutSet(name, description, corpus.of_documents(documents), rows)


def _keys(corpus: Corpus) -> NDArray[np.uint64]:
    """A hash of each vector: the bits of its first four values."""
    first = np.zeros((len(corpus.vectors), 4), np.float32)
    width = min(4, corpus.vectors.shape[1])
    first[:, :width] = corpus.vectors[:, :width]
    bits = first.view(np.uint64)
    return mix_bits(bits)


def mix_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One hash for each row of `bits` `[n, 2]`."""
    keys: NDArray[np.uint64] = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1]
    return keys
