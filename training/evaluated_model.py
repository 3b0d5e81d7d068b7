"""A checkpoint to be evaluated, at the window it is to be read with."""

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
    """`trained_on` names its training documents; None where the checkpoint does not."""

    name: str
    model: NextVectorModel
    window: int
    digest: str
    trained_on: frozenset[str] | None


def parse(text: str) -> EvaluatedModel:
    """From `CHECKPOINT` or `CHECKPOINT:WINDOW`.

    Raises `CheckpointError`, and `ValueError` where no window is known.
    """
    head, _, tail = text.rpartition(":")
    path, window = (Path(head), tail) if head and tail.isdecimal() else (Path(text), "")
    model = checkpoint.load(path)
    metadata = checkpoint.metadata(path)
    window = window or metadata.get("window", "")
    if not window.isdecimal() or int(window) < 1:
        raise ValueError(f"{path}: does not say its window; write {path}:500 for a window of 500")
    try:
        trained_on = held_out.trained_on(metadata)
    except CorpusError as error:
        raise CorpusError(f"{path}: {error}") from error
    name = f"{path.stem} (window {int(window)})"
    return EvaluatedModel(name, model, int(window), sha256(path), trained_on)


def parse_all(texts: Sequence[str]) -> list[EvaluatedModel]:
    """As `parse`, each; two of one name could not be told apart in a table."""
    candidates = [parse(text) for text in texts]
    names = [candidate.name for candidate in candidates]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice; rename one of the files")
    return candidates
