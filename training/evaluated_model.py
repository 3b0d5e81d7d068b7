"""A checkpoint under evaluation, and the window that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from architectures import checkpoint
from architectures.model import NextVectorModel
from corpora.corpus import CorpusError
from service.manifest import sha256
from training import held_out


@dataclass(frozen=True)
class EvaluatedModel:
    """`trained_on` are the training documents; None if the checkpoint does not list them."""

    name: str
    model: NextVectorModel
    window: int
    digest: str
    trained_on: frozenset[str] | None


def load(text: str) -> EvaluatedModel:
    """Load `CHECKPOINT` or `CHECKPOINT:WINDOW`.

    Without a window, takes the one that the model was trained with. Raises `CheckpointError`,
    `CorpusError` for a damaged list of documents, and `ValueError` for an unknown window.
    """
    head, _, tail = text.rpartition(":")
    path, window = (Path(head), tail) if head and tail.isdecimal() else (Path(text), "")
    model = checkpoint.load(path)
    metadata = checkpoint.metadata(path)
    window = window or metadata.get("window", "")
    if not window.isdecimal() or int(window) < 1:
        raise ValueError(f"{path}: does not say its window; write {path}:500 for a window of 500")
    try:
        trained_on = held_out.training_documents(metadata)
    except CorpusError as error:
        raise CorpusError(f"{path}: {error}") from error
    name = f"{path.stem} (window {int(window)})"
    return EvaluatedModel(name, model, int(window), sha256(path), trained_on)


def load_all(texts: Sequence[str]) -> list[EvaluatedModel]:
    """Load each of `texts`. Raises `ValueError` if two have the same name."""
    models = [load(text) for text in texts]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice; rename one of the files")
    return models
