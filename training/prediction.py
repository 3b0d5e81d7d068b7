"""Predictions of a model, each position from its own exact context."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from architectures.model import NextVectorModel
from corpora.retrieval_metrics import Vectors

BATCH = 50
"""Contexts that run together: enough to fill the cores, 0.3 GB at 1000 vectors each."""

Progress = Callable[[int], None]
"""Called with how many positions have been predicted so far."""


def predict_exact(
    model: NextVectorModel,
    stream: Vectors,
    targets: NDArray[np.int64],
    window: int,
    progress: Progress = lambda _done: None,
    workers: int = 1,
) -> Vectors:
    """Predict each target from the `window` vectors before it, recomputed from cold.

    `targets` are positions ≥ 1 in `stream` `[n, dim]`. Those with fewer than
    `window` vectors before them get all there are: their contexts all begin at
    the stream's start, so that one pass over it answers every one. The others'
    contexts are of one length and run in batches without padding, `workers` of
    them at a time with a thread each: threads that share one batch's small steps
    spend their time waiting for each other.
    """
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    short = np.flatnonzero(targets < window)
    full = np.flatnonzero(targets >= window)
    if len(short):
        predicted[short] = _from_the_start(model, stream, targets[short])
        progress(len(short))
    batches = [full[start : start + BATCH] for start in range(0, len(full), BATCH)]
    run = partial(_from_windows, model, stream, window=window)
    done = len(short)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        answers = pool.map(run, [targets[rows] for rows in batches])
        for rows, answer in zip(batches, answers, strict=True):
            predicted[rows] = answer
            done += len(rows)
            progress(done)
    return predicted


def _from_the_start(model: NextVectorModel, stream: Vectors, targets: NDArray[np.int64]) -> Vectors:
    with torch.inference_mode():
        beginning = torch.from_numpy(stream[: targets.max(), None])
        last = torch.from_numpy(targets - 1)
        predicted, _ = model.predict_at(beginning, last, torch.zeros_like(last))
    answer: Vectors = predicted.numpy()
    return answer


def _from_windows(
    model: NextVectorModel, stream: Vectors, targets: NDArray[np.int64], window: int
) -> Vectors:
    positions = targets - window + np.arange(window)[:, None]
    with torch.inference_mode():
        predicted, _ = model.predict(torch.from_numpy(stream[positions]))
    answer: Vectors = predicted.numpy()
    return answer
