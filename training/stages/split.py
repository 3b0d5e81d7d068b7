"""Divides a packed corpus into training, validation and held-out documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.corpus import CorpusError
from corpora.packed_corpus import PackedCorpus
from training import held_out
from training.held_out import HoldOut
from training.stages.validation import ValidationSet

VALIDATE_EVERY = 20
"""Every so many of the remaining documents are for validation."""

_LARGEST_SET = 60_000
"""Vectors of a validation set; a longer one is cut at a document's end."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class StagedSplit:
    """The training documents, the validation sets, and which documents are held out of both."""

    train: PackedCorpus
    validation: tuple[ValidationSet, ...]
    held_out: Mask


def split(
    packed: PackedCorpus,
    hold_out: HoldOut,
    held_out_genres: Sequence[str] = (),
    validation_genres: Sequence[str] = (),
) -> StagedSplit:
    """Hold out the documents of `hold_out` and of whole genres or sources.

    `validation_genres` are genres or sources that training leaves out, to choose the weights and
    the length of the step by. Every twentieth of the remaining documents also validates.

    Raises `CorpusError` for an unknown genre, if a document is held out and also, in copy,
    trained on, or if nothing is left to train on.
    """
    outside = held_out.mask(packed.documents, hold_out)
    for name in held_out_genres:
        outside |= of_genre(packed, name)
    left_out = np.zeros_like(outside)
    foreign = []
    for name in validation_genres:
        chosen = of_genre(packed, name) & ~outside
        left_out |= chosen
        if chosen.any():
            foreign.append(_validation_set(packed, name, chosen, familiar=False))
    rest = np.flatnonzero(~outside & ~left_out)
    familiar = np.zeros_like(outside)
    familiar[
        rest[VALIDATE_EVERY - 1 :: VALIDATE_EVERY] if len(rest) >= VALIDATE_EVERY else rest[-1:]
    ] = True
    train = ~outside & ~left_out & ~familiar
    if not train.any():
        raise CorpusError("no document is left to train on; hold out fewer")
    packed_train = packed.pack(train)
    check_no_copies(packed_train, packed.pack(~train))
    first = _validation_set(packed, "validation", familiar, familiar=True)
    return StagedSplit(packed_train, (first, *foreign), outside)


def of_genre(packed: PackedCorpus, name: str) -> Mask:
    """The documents of a genre or a source. Raises `CorpusError`, with the known ones."""
    found: Mask = np.array(packed.genres) == name
    found |= np.array(packed.sources) == name
    if not found.any():
        known = ", ".join(sorted({*packed.genres} - {""})) or "none: the data set names no genres"
        raise CorpusError(f"no document is of the genre or source {name!r}; genres: {known}")
    return found


def check_no_copies(train: PackedCorpus, others: PackedCorpus) -> None:
    """Raise `CorpusError` if a document of `others` is a copy of one of `train`."""
    held_out.check_keys(
        held_out.KeyedDocuments(_keys(train), train.document_id, train.documents),
        held_out.KeyedDocuments(_keys(others), others.document_id, others.documents),
    )


def _validation_set(
    packed: PackedCorpus, name: str, chosen: Mask, *, familiar: bool
) -> ValidationSet:
    kept = chosen.copy()
    kept[np.cumsum(packed.lengths * chosen) > _LARGEST_SET] = False
    if not kept.any():
        kept[np.argmax(chosen)] = True
    return ValidationSet(name, packed.of_documents(kept), familiar)


def _keys(packed: PackedCorpus) -> NDArray[np.uint64]:
    """A hash of each vector: its first sixteen values."""
    first = np.zeros((len(packed), 16), np.int8)
    width = min(16, packed.dim)
    first[:, :width] = packed.vectors_int8[:, :width]
    return held_out.mix_bits(first.view(np.uint64))
