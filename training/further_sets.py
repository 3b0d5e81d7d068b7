"""Further sets of an evaluation: the held-out documents of each genre, and foreign texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from corpora import corpus as corpora
from corpora.corpus import Corpus
from corpora.sample import load_vectors
from service.manifest import sha256
from training import held_out
from training.held_out import HeldOutSet

FEWEST_DOCUMENTS = 8
"""A foreign text of fewer documents is cut, because intervals resample whole documents."""

PARTS = 20


def genres(data: Path, whole: Corpus, longest: int) -> list[HeldOutSet]:
    """The documents of `eras` by genre, if the corpus in `data` names several.

    Leaves out genres of `longest` or fewer vectors. A model that was trained without a genre has
    seen none of it.
    """
    genre, _ = corpora.read_labels(data, len(whole.documents))
    names = sorted(set(genre) - {""})
    if len(names) < 2:
        return []
    eras = held_out.mask(whole.documents, "eras")
    found = []
    for name in names:
        chosen = eras & (np.array(genre) == name)
        rows = np.flatnonzero(chosen[whole.document_id])
        if len(rows) > longest:
            description = f"every eighth document, of the genre {name}"
            found.append(HeldOutSet(f"eras: {name}", description, whole.of_documents(chosen), rows))
    return found


def foreign(path: Path) -> HeldOutSet:
    """The vectors in `path` as one set, named after the file. Raises `CorpusError`.

    With fewer than eight documents, twenty equal parts stand for documents in the intervals.
    """
    vectors = load_vectors(path)
    with np.load(path, allow_pickle=False) as archive:
        documents = {"document_id", "document"} <= set(archive.files)
    if documents:
        text = corpora.load(path, vectors.shape[1])
    if not documents or len(held_out.names(text)) < FEWEST_DOCUMENTS:
        part = np.arange(len(vectors)) * PARTS // len(vectors)
        names = tuple(f"{path.stem}, part {number + 1}" for number in range(PARTS))
        text = Corpus(vectors, part.astype(np.int32), names)
    return HeldOutSet(
        path.stem,
        f"foreign text {path.name}",
        text,
        np.arange(len(vectors)),
        digest=sha256(path),
    )
