"""Hit sequences: what the service's online quality would see of models on a text.

A text is cut into sessions. Every model starts cold in each of them and predicts after every
vector; a prediction hits if its true vector is among the five nearest of the service's own
distractor pool. `nextvec simulate --quality --hits` takes the sequences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from corpora.corpus import Corpus
from corpora.retrieval_metrics import Vectors
from service.quality.distractor_pool import DISTRACTORS, DistractorPool
from service.types import KEY_SAMPLE
from training.evaluated_model import EvaluatedModel

FORMAT = 1

CONCURRENT = 128
"""Sessions that run at a time, a vector of each in turn."""

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class HitSequences:
    """Hits `[sessions, length - 1]` of each model in the same sessions of one text.

    A session of `length` vectors has one prediction less that can be scored.
    """

    text: str
    sha256: str
    length: int
    models: Mapping[str, Hits]

    def as_json(self) -> str:
        """A string of 0 and 1 for each session."""
        content = {
            "format": FORMAT,
            "text": self.text,
            "sha256": self.sha256,
            "session_length": self.length,
            "candidates": DISTRACTORS + 1,
            "models": {
                name: ["".join("01"[hit] for hit in row) for row in hits.astype(int).tolist()]
                for name, hits in self.models.items()
            },
        }
        return json.dumps(content, indent=1) + "\n"

    def save(self, path: Path) -> None:
        path.write_text(self.as_json(), "utf-8")

    def table(self) -> str:
        """Hit@5 of each model in Markdown, over all predictions and as a key counts."""
        sessions = len(next(iter(self.models.values())))
        candidates = DISTRACTORS + 1
        lines = [
            f"{self.text}: {sessions} sessions of {self.length} vectors, {candidates} candidates.",
            "",
            f"| model | Hit@5 % | first {KEY_SAMPLE} predictions, % | their spread |",
            "|---|---|---|---|",
        ]
        for name, hits in self.models.items():
            share = hits[:, :KEY_SAMPLE].mean(axis=1)
            figures = f"{100 * hits.mean():.1f} | {100 * share.mean():.1f} | {share.std():.2f}"
            lines.append(f"| {name} | {figures} |")
        return "\n".join(lines)


def cut_sessions(corpus: Corpus, length: int) -> Vectors:
    """Consecutive stretches of `length` vectors within documents: `[sessions, length, dim]`.

    Raises `ValueError` if there are too few for the distractors of one prediction.
    """
    found = []
    for document in np.unique(corpus.document_id):
        rows = corpus.vectors[corpus.document_id == document]
        count = len(rows) // length
        found.append(rows[: count * length].reshape(count, length, rows.shape[1]))
    sessions: Vectors = np.concatenate(found)
    if len(sessions) <= DISTRACTORS:
        raise ValueError(
            f"the text gives {len(sessions)} sessions of {length} vectors, but a prediction is "
            f"ranked among {DISTRACTORS} other sessions; take a longer text or shorter sessions"
        )
    return sessions


def check_window(model: EvaluatedModel, length: int) -> None:
    """Raise `ValueError`, naming the model, if a session outgrows its window."""
    if length - 1 > model.window:
        raise ValueError(
            f"sessions of {length} vectors outgrow the window of {model.name}; take shorter ones"
        )


@torch.inference_mode()
def score_sessions(model: EvaluatedModel, sessions: Vectors, seed: int) -> Hits:
    """The hits of `model` in `sessions` `[n, length, dim]`: `[n, length - 1]`.

    `CONCURRENT` sessions run at a time, in random order, the same for every model.
    """
    count, length, dim = sessions.shape
    order = np.random.default_rng(seed).permutation(count)
    pool = DistractorPool(dim)
    hits = np.zeros((count, length - 1), np.bool_)
    model.model.eval()
    for first in range(0, count, CONCURRENT):
        # The last group takes sessions of the one before, so that there are others enough.
        group = order[max(0, min(first, count - CONCURRENT)) :][:CONCURRENT]
        vectors = np.ascontiguousarray(sessions[group].swapaxes(0, 1))
        predicted = model.model.predict_each(torch.from_numpy(vectors[:-1])).numpy()
        pool.add(vectors[0], group)
        for number, (prediction, truth) in enumerate(zip(predicted, vectors[1:], strict=True)):
            pool.add(truth, group)
            _, ranks = pool.ranks(prediction, truth, group)
            hits[group, number] = ranks <= 5
    return hits
