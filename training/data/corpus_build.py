"""Builds a data set from a sentence table: embeds it in shards and assembles one corpus file.

Finished shards are in a raw file beside the data set, so an interrupted build resumes after the
last finished shard. The manifest is written last; a folder without one is incomplete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from corpora.packed_corpus import PackedCorpus, save_packed
from service.manifest import sha256
from training.data.build import CORPUS, MANIFEST, SENTENCES, replace_file
from training.data.sentence_table import SentenceTable
from training.data.tokenization import TokenizedSentences

SHARD = 65_536
"""Sentences that are sorted by length together, and the unit of resuming."""

Tokenize = Callable[[list[list[str]]], Iterator[TokenizedSentences]]


class ShardEmbedder(Protocol):
    """Embeds the sentences of one shard."""

    def embed(self, sentences: TokenizedSentences) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """`[n, dim]` in eight bits, and the scale of each row `[n]`."""
        ...


def build_from_table(
    table: SentenceTable,
    tokenize: Tokenize,
    embedder: ShardEmbedder,
    identity: dict[str, str],
    dim: int,
    out: Path,
    progress: Callable[[int], None] = lambda _sentences: None,
    shard: int = SHARD,
) -> Path:
    """Embed the shards that are not embedded yet, then write the data set to `out`.

    `identity` is that of the embedder: with another one, or with another text, the build starts
    over. `progress` is called with the number of further sentences that are done, including
    those of an earlier, interrupted build. Returns the manifest's path.
    """
    total = len(table.sentences)
    parts = ShardStore(out / "parts", {**identity, "sentences": table.sha256}, total, dim)
    done = parts.done
    progress(done)
    shards = [table.sentences[first : first + shard] for first in range(done, total, shard)]
    with ThreadPoolExecutor(1) as writer:  # one shard is written while the next one is embedded
        written: Future[None] | None = None
        for tokenized in tokenize(shards):
            embedded = embedder.embed(tokenized)
            if written is not None:
                written.result()
            written = writer.submit(parts.append, *embedded)
            progress(len(embedded[1]))
        if written is not None:
            written.result()
    manifest = _write(table, parts, identity, out)
    parts.remove()
    return manifest


class ShardStore:
    """The vectors of the finished shards, on disk.

    A folder of another text or embedder is emptied first.
    """

    def __init__(self, folder: Path, identity: dict[str, str], total: int, dim: int) -> None:
        self._folder, self._total, self._dim = folder, total, dim
        run = {**identity, "total": str(total), "dim": str(dim)}
        self._key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
        self.done = self._read_done()
        if self.done == 0:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    @property
    def values(self) -> NDArray[np.int8]:
        return np.memmap(self._folder / "values", np.int8, mode="r", shape=(self._total, self._dim))

    @property
    def scale(self) -> NDArray[np.float32]:
        return np.fromfile(self._folder / "scale", np.float32, self._total)

    def append(self, values: NDArray[np.int8], scale: NDArray[np.float32]) -> None:
        """Add the next rows; they count once they are on disk."""
        for name, rows, width in (("values", values, self._dim), ("scale", scale, 4)):
            with (self._folder / name).open("r+b" if self.done else "wb") as file:
                file.seek(self.done * width)
                file.write(rows.tobytes())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        self.done += len(scale)
        text = json.dumps({"key": self._key, "done": self.done})
        replace_file(self._folder / "progress.json", lambda path: path.write_text(text))

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def _read_done(self) -> int:
        try:
            found = json.loads((self._folder / "progress.json").read_text())
            done = int(found["done"]) if found["key"] == self._key else 0
            sizes = [(self._folder / name).stat().st_size for name in ("values", "scale")]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return done if sizes[0] >= done * self._dim and sizes[1] >= done * 4 else 0


def _write(table: SentenceTable, parts: ShardStore, identity: dict[str, str], out: Path) -> Path:
    documents = table.documents
    lengths = [document.sentences for document in documents]
    whole = PackedCorpus(
        parts.values,
        parts.scale,
        np.repeat(np.arange(len(documents), dtype=np.int32), lengths),
        tuple(document.name for document in documents),
        tuple(document.genre for document in documents),
        tuple(document.source for document in documents),
    )
    replace_file(out / CORPUS, partial(save_packed, packed=whole), ".npz")
    text = "\n".join(table.sentences) + "\n"
    replace_file(out / SENTENCES, lambda path: path.write_text(text, encoding="utf-8"))
    manifest = {
        "format": 1,
        "vectors": len(whole),
        "dim": whole.dim,
        "corpus_sha256": sha256(out / CORPUS),
        "source": {"embedder": identity, "sentences": table.sha256},
        "documents": [
            {
                "name": document.name,
                "genre": document.genre,
                "source": document.source,
                "licence": document.licence,
                "offset": document.first_line,
                "vectors": document.sentences,
            }
            for document in documents
        ],
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    replace_file(out / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    return out / MANIFEST
