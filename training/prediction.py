"""Predictions of a model at many positions of a stream, under each window policy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from architectures.model import NextVectorModel
from corpora.retrieval_metrics import Vectors
from service.contexts.window import starts

BATCH = 50
"""Contexts that run together: enough to fill the cores, 0.3 GB at 1000 vectors each."""

PASSES = 16
"""Anchored passes that run together: enough to fill a core."""

CHUNK = 1000
"""Vectors of a continuous pass that run at once."""

Positions = NDArray[np.int64]

Progress = Callable[[int], None]
"""Called with the number of positions predicted so far."""

Advance = Callable[[int], None]
"""Called with the number of vectors that have run through a model since the last call."""


def predict_exact(
    model: NextVectorModel,
    stream: Vectors,
    targets: Positions,
    window: int,
    progress: Progress = lambda _done: None,
    workers: int = 1,
) -> Vectors:
    """Predict each target from the `window` vectors before it, from a cold state: `[n, dim]`.

    `targets` are positions ≥ 1 in `stream` `[n, dim]`. Targets with fewer than `window` vectors
    before them read all there are; their contexts all begin at the start of the stream, so one
    pass predicts them all. The other contexts have one length and run in batches, on `workers`
    threads with one batch each: threads that share the small steps of one batch mostly wait.
    """
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    short = np.flatnonzero(targets < window)
    full = np.flatnonzero(targets >= window)
    if len(short):
        predicted[short] = _predict_from_start(model, stream, targets[short])
        progress(len(short))
    batches = [full[start : start + BATCH] for start in range(0, len(full), BATCH)]
    run = partial(_predict_windows, model, stream, window=window)
    done = len(short)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        answers = pool.map(run, [targets[rows] for rows in batches])
        for rows, answer in zip(batches, answers, strict=True):
            predicted[rows] = answer
            done += len(rows)
            progress(done)
    return predicted


def predict_anchored(
    model: NextVectorModel, stream: Vectors, targets: Positions, window: int, advance: Advance
) -> Vectors:
    """Predict each target as an anchored session does, which restarts every half window.

    Uses the service's own rule, so a context has between half a window and a whole one. All
    targets with the same start share one pass, so every position of a stream is affordable.
    Returns `[targets, dim]`.
    """
    begins = np.array([starts("anchored", window, int(target))[0] for target in targets])
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    passes = np.unique(begins)
    for first in range(0, len(passes), PASSES):
        group = passes[first : first + PASSES]
        inputs = np.zeros((window, len(group), stream.shape[1]), np.float32)
        for row, begin in enumerate(group):
            context = stream[begin : begin + window]
            inputs[: len(context), row] = context
        members = np.flatnonzero(np.isin(begins, group))
        time = targets[members] - 1 - begins[members]
        row_of = np.searchsorted(group, begins[members])
        predicted[members] = _predict_at(model, inputs, time, row_of)
        advance(window * len(group))
    return predicted


def predict_continuous(
    model: NextVectorModel, stream: Vectors, targets: Positions, advance: Advance
) -> Vectors:
    """Predict each target from a state that never restarts: `[targets, dim]`."""
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    state = None
    for first in range(0, int(targets.max()), CHUNK):
        part = torch.from_numpy(stream[first : first + CHUNK, None])
        with torch.inference_mode():
            members = np.flatnonzero((targets > first) & (targets <= first + len(part)))
            time = torch.from_numpy(targets[members] - 1 - first)
            answer, state = model.predict_at(part, time, torch.zeros_like(time), state)
            predicted[members] = answer.numpy()
        advance(len(part))
    return predicted


def _predict_from_start(model: NextVectorModel, stream: Vectors, targets: Positions) -> Vectors:
    time = targets - 1
    return _predict_at(model, stream[: targets.max(), None], time, np.zeros_like(time))


def _predict_windows(
    model: NextVectorModel, stream: Vectors, targets: Positions, window: int
) -> Vectors:
    positions = targets - window + np.arange(window)[:, None]
    with torch.inference_mode():
        predicted, _ = model.predict(torch.from_numpy(stream[positions]))
    answer: Vectors = predicted.numpy()
    return answer


def _predict_at(
    model: NextVectorModel, inputs: Vectors, time: Positions, row: Positions
) -> Vectors:
    """Predictions after `inputs[time[i], row[i]]`, from a cold state."""
    with torch.inference_mode():
        answer, _ = model.predict_at(
            torch.from_numpy(inputs), torch.from_numpy(time), torch.from_numpy(row)
        )
    predicted: Vectors = answer.numpy()
    return predicted
