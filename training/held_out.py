"""Documents kept from training, and whether a model has really not seen them.

Two sets, for they ask different things: `eras` is every eighth document, so that
training has seen its neighbours in time; `latest` is the newest documents, so that
everything in it comes after what training saw. They overlap.
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

HoldOut = Literal["eras", "latest", "both"]
HOLD_OUT: tuple[HoldOut, ...] = ("eras", "latest", "both")

EVERY = 8
LATEST_FROM = 1999
"""The first year of the latest documents, where documents are named for their year."""

DOCUMENTS = "trained_documents"
"""Key of a checkpoint's metadata: the names of its training documents, a JSON list."""

_SAME_TEXT = 0.5
"""A document that shares this much of its vectors with others is a copy: liturgical
phrases recur between documents, half a document does not."""

_YEAR = re.compile(r"\d{4}(?!\d)")


@dataclass(frozen=True)
class HeldOutSet:
    """One set's vectors as a stream of their own; `rows` are their places in the corpus."""

    name: str
    description: str
    corpus: Corpus
    rows: NDArray[np.int64]

    @property
    def documents(self) -> tuple[str, ...]:
        return names(self.corpus)


def names(corpus: Corpus) -> tuple[str, ...]:
    """The documents that `corpus` holds vectors of, in reading order."""
    return tuple(corpus.documents[index] for index in np.unique(corpus.document_id))


def sets(corpus: Corpus) -> tuple[HeldOutSet, HeldOutSet]:
    """Every eighth document, and the latest ones."""
    eras, latest = _masks(corpus)
    first = corpus.documents[int(np.argmax(latest))]
    return (
        _chosen(corpus, eras, "eras", "every eighth document"),
        _chosen(corpus, latest, "latest", f"every document from {first} on"),
    )


def split(corpus: Corpus, hold_out: HoldOut) -> CorpusSplit:
    """Train on what `hold_out` leaves; whole documents on either side.

    Raises `CorpusError` when a document of one side is on the other too.
    """
    eras, latest = _masks(corpus)
    held_out = {"eras": eras, "latest": latest, "both": eras | latest}[hold_out]
    both = CorpusSplit(train=corpus.of_documents(~held_out), held_out=corpus.of_documents(held_out))
    check_no_copies(both.train, both.held_out)
    return both


def check_no_copies(train: Corpus, held_out: Corpus) -> None:
    """Refuse a held-out document whose text training has too, under whatever name.

    Raises `CorpusError` naming both documents.
    """
    if shared := sorted(set(names(train)) & set(names(held_out))):
        raise CorpusError(
            f"document {shared[0]} is both held out and trained on: "
            "give each document a name of its own"
        )
    if not len(train.vectors) or not len(held_out.vectors):
        return
    known = _keys(train)
    order = np.argsort(known)
    place = np.searchsorted(known, keys := _keys(held_out), sorter=order)
    match = order[np.minimum(place, len(order) - 1)]
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


def metadata(
    train: Corpus, hold_out: str, dataset_sha256: str, start: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a checkpoint says of the documents it was trained on.

    With those of the checkpoint it started from, whose metadata is `start`; where that
    one names none, neither does this one, for the list would not be whole.
    """
    said = {"hold_out": hold_out, "dataset_sha256": dataset_sha256}
    before = frozenset() if start is None else trained_on(start)
    if before is None:
        return said
    own = names(train)
    return {DOCUMENTS: json.dumps([*own, *sorted(before - set(own))]), **said}


def check_start(start: Mapping[str, str], held_out: Corpus) -> None:
    """Refuse to go on from a model that was trained on what is now held out.

    Raises `CorpusError` naming a document.
    """
    if leaked := seen(trained_on(start), names(held_out)):
        raise CorpusError(
            f"the start was trained on {len(leaked)} of the held-out documents, {leaked[0]} "
            "first; hold out what it held out, or start anew"
        )


def trained_on(checkpoint_metadata: Mapping[str, str]) -> frozenset[str] | None:
    """The training documents a checkpoint names; None where it names none.

    Raises `CorpusError` when the entry is not a list of names.
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


def seen(trained: frozenset[str] | None, documents: Sequence[str]) -> tuple[str, ...] | None:
    """Those of `documents` that training saw; None where that is not known."""
    return None if trained is None else tuple(name for name in documents if name in trained)


def _masks(corpus: Corpus) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which documents are in `eras` and which in `latest`.

    Latest are those named for a year from `LATEST_FROM` on; where names tell
    nothing, or nothing else would be left, the last eighth.
    """
    number = np.arange(len(corpus.documents))
    years = [_YEAR.match(name) for name in corpus.documents]
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
    """A number a vector, the same for the same vector: its first four values' bits."""
    first = np.zeros((len(corpus.vectors), 4), np.float32)
    width = min(4, corpus.vectors.shape[1])
    first[:, :width] = corpus.vectors[:, :width]
    bits = first.view(np.uint64)
    keys: NDArray[np.uint64] = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1]
    return keys
