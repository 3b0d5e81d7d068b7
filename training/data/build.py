"""Builds a data set from documents: a corpus, its sentences and a manifest.

The vectors of each document are kept in a file of their own, named by the digest of their
source, until the last document is embedded, so an interrupted build resumes. The manifest is
written last; a folder without one is incomplete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corpora import corpus
from service.manifest import sha256
from training.data.sentences import split_sentences
from training.data.texts import TextDocument

if TYPE_CHECKING:
    from training.data.embedder import Embedder

CORPUS, SENTENCES, MANIFEST = "corpus.npz", "sentences.txt", "manifest.json"
_PARTS = "parts"


@dataclass(frozen=True)
class SegmentedDocument:
    """A document in sentences; `digest` covers them and the embedder."""

    name: str
    sentences: list[str]
    digest: str


def segment(documents: Sequence[TextDocument], embedder: Embedder) -> list[SegmentedDocument]:
    """Split documents into sentences, leaving out documents without one.

    Raises `CorpusError` if none is left, or if two documents are the same: one could be held out
    and the other trained on.
    """
    key = json.dumps(embedder.identity, sort_keys=True)
    found = []
    for document in documents:
        if sentences := split_sentences(document.text):
            text = "\n".join([key, *sentences])
            digest = hashlib.sha256(text.encode()).hexdigest()
            found.append(SegmentedDocument(document.name, sentences, digest))
    if not found:
        raise corpus.CorpusError("no document holds a sentence of at least six words")
    check_distinct([(document.name, document.digest) for document in found])
    return found


def check_distinct(documents: Sequence[tuple[str, str]]) -> None:
    """Raise `CorpusError` if two of these (name, digest) pairs share a name or a digest."""
    by_name, by_digest = set[str](), dict[str, str]()
    for name, content in documents:
        if name in by_name:
            raise corpus.CorpusError(f"two documents are called {name}; rename one")
        if content in by_digest:
            raise corpus.CorpusError(f"{by_digest[content]} and {name} are the same; remove one")
        by_name.add(name)
        by_digest[content] = name


def build(
    segmented: Sequence[SegmentedDocument],
    embedder: Embedder,
    out: Path,
    progress: Callable[[int], None] = lambda _sentences: None,
) -> Path:
    """Embed the documents that are not embedded yet, then write the data set to `out`.

    `progress` is called with the number of further sentences that are done, including those of
    an earlier, interrupted build. Returns the manifest's path.
    """
    parts = out / _PARTS
    parts.mkdir(parents=True, exist_ok=True)
    for document in segmented:
        part = parts / f"{document.digest}.npy"
        if not part.exists():
            embedded = embedder.embed(document.sentences)
            replace_file(part, partial(_save, embedded))
        progress(len(document.sentences))
    vectors = [np.load(parts / f"{document.digest}.npy") for document in segmented]
    text = "".join(f"{sentence}\n" for document in segmented for sentence in document.sentences)
    replace_file(out / SENTENCES, lambda path: path.write_text(text, encoding="utf-8"))
    source = {"embedder": embedder.identity, "sentences": sha256(out / SENTENCES)}
    digests = [document.digest for document in segmented]
    manifest = write(out, [document.name for document in segmented], vectors, source, digests)
    shutil.rmtree(parts)
    return manifest


def write(
    out: Path,
    names: Sequence[str],
    vectors: Sequence[NDArray[np.float32]],
    source: Mapping[str, object],
    digests: Sequence[str],
) -> Path:
    """Write the corpus, and the manifest with the position of each document in it.

    `digests` are those of the documents' sources. Returns the manifest's path.
    """
    out.mkdir(parents=True, exist_ok=True)
    lengths = [len(rows) for rows in vectors]
    offsets = np.cumsum([0, *lengths[:-1]]).tolist()
    whole = corpus.Corpus(
        np.concatenate(vectors),
        np.repeat(np.arange(len(names), dtype=np.int32), lengths),
        tuple(names),
    )
    replace_file(out / CORPUS, lambda path: corpus.save(path, whole), ".npz")
    documents = [
        {"name": name, "offset": offset, "vectors": length, "sha256": digest}
        for name, offset, length, digest in zip(names, offsets, lengths, digests, strict=True)
    ]
    manifest = {
        "format": 1,
        "vectors": len(whole.vectors),
        "dim": int(whole.vectors.shape[1]),
        "corpus_sha256": sha256(out / CORPUS),
        "source": source,
        "documents": documents,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    replace_file(out / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    return out / MANIFEST


def _save(vectors: NDArray[np.float32], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, vectors)


def replace_file(path: Path, fill: Callable[[Path], object], suffix: str = "") -> None:
    """Write a file atomically: `fill` a partial one, sync it and rename it."""
    partial_path = path.with_name(f".{path.name}.partial{suffix}")
    fill(partial_path)
    with partial_path.open("rb") as file:
        os.fsync(file.fileno())
    partial_path.replace(path)
