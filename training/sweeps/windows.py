"""What a session answers past its window: predictions under each window policy."""

from __future__ import annotations

import numpy as np
import torch

from architectures.model import NextVectorModel
from corpora.retrieval_metrics import Vectors
from service.contexts.window import starts
from training.sweeps.setting import Advance, Positions

ROWS = 16
"""Rows that run together: a batch large enough to fill a core."""

CHUNK = 1000
"""Vectors of a long pass that run at once."""


def anchored(
    model: NextVectorModel, stream: Vectors, targets: Positions, window: int, advance: Advance
) -> Vectors:
    """Predict each target as a session does that restarts every half window.

    By the service's own rule, so between half a window and a whole one. All the
    targets that read from one beginning share a pass, which makes every position
    of a stream affordable. Returns `[targets, dim]`.
    """
    begins = np.array([starts("anchored", window, int(target))[0] for target in targets])
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    passes = np.unique(begins)
    for first in range(0, len(passes), ROWS):
        group = passes[first : first + ROWS]
        inputs = np.zeros((window, len(group), stream.shape[1]), np.float32)
        for row, begin in enumerate(group):
            part = stream[begin : begin + window]
            inputs[: len(part), row] = part
        wanted = np.flatnonzero(np.isin(begins, group))
        time = targets[wanted] - 1 - begins[wanted]
        row_of = np.searchsorted(group, begins[wanted])
        predicted[wanted] = _at(model, inputs, time, row_of)
        advance(window * len(group))
    return predicted


def carried_on(
    model: NextVectorModel, stream: Vectors, targets: Positions, advance: Advance
) -> Vectors:
    """Predict each target from a state that is never begun anew: `[targets, dim]`."""
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    state = None
    for first in range(0, int(targets.max()), CHUNK):
        part = torch.from_numpy(stream[first : first + CHUNK, None])
        with torch.inference_mode():
            wanted = np.flatnonzero((targets > first) & (targets <= first + len(part)))
            time = torch.from_numpy(targets[wanted] - 1 - first)
            answer, state = model.predict_at(part, time, torch.zeros_like(time), state)
            predicted[wanted] = answer.numpy()
        advance(len(part))
    return predicted


def _at(model: NextVectorModel, inputs: Vectors, time: Positions, row: Positions) -> Vectors:
    """Predictions after `inputs[time[i], row[i]]`."""
    with torch.inference_mode():
        at = (torch.from_numpy(time), torch.from_numpy(row))
        answer, _ = model.predict_at(torch.from_numpy(inputs), *at)
    predicted: Vectors = answer.numpy()
    return predicted
