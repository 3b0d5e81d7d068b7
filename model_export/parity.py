"""Compares an exported graph with its network, for many batch sizes and lengths.

A wrong detail in an exported GRU raises no error; the predictions are just wrong. A version is
therefore published only if its graph, run by the engine that will serve it, agrees with the
model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from architectures.sizes import DIM
from service.inference.engines.engine import Engine
from service.manifest import Parity, ParityResult

BOUND = 1e-5
"""The largest permitted difference in any element of a prediction or a state."""

_Answer = tuple[NDArray[Any], NDArray[Any]]
"""Predictions `[batch, dim]` and states `[layers, batch, hidden]`."""


class Reference(Protocol):
    """The network that a graph was made of; `name` says how it runs, for messages."""

    name: str

    def predict(self, vectors: NDArray[np.float32], state: NDArray[Any] | None) -> _Answer:
        """Predict after the last of `vectors` `[time, batch, dim]`; also return the state."""
        ...


class ParityError(Exception):
    """The graph and the model disagree; the message names the case."""


@dataclass(frozen=True)
class ParityCase:
    """A batch of rows of `lengths` vectors, run in consecutive `pieces`."""

    lengths: tuple[int, ...]
    pieces: tuple[int, ...]

    @classmethod
    def in_one_pass(cls, batch: int, length: int) -> ParityCase:
        """`batch` rows of one length, in one pass."""
        return cls((length,) * batch, (length,))

    @classmethod
    def in_pieces(cls, batch: int, pieces: tuple[int, ...]) -> ParityCase:
        """`batch` rows of one length, with the state passed from piece to piece."""
        return cls((sum(pieces),) * batch, pieces)

    @classmethod
    def of_lengths(cls, lengths: tuple[int, ...]) -> ParityCase:
        """Rows of different lengths in one pass, padded to the longest."""
        return cls(lengths, (max(lengths),))

    @property
    def length(self) -> int:
        """The vectors of the longest row."""
        return sum(self.pieces)

    @property
    def ends(self) -> set[int]:
        """The numbers of vectors after which there is a prediction."""
        done = accumulate(self.pieces)
        return {min(so_far, length) for so_far in done for length in self.lengths}

    @property
    def is_ragged(self) -> bool:
        return len(set(self.lengths)) > 1

    def __str__(self) -> str:
        rows = f"lengths {', '.join(map(str, self.lengths))}"
        if not self.is_ragged:
            rows = f"batch {len(self.lengths)} of {self.lengths[0]} vectors"
        how = "in one pass" if len(self.pieces) == 1 else f"in pieces of {self.pieces}"
        return f"{rows} {how}"


CASES = (
    *(ParityCase.in_one_pass(batch, length) for batch in (1, 3, 8) for length in (1, 7, 100, 500)),
    ParityCase.of_lengths((500, 1, 7, 100, 499, 2, 250, 33)),
    ParityCase.in_pieces(1, (10, 1, 489)),
    ParityCase.in_pieces(3, (10, 1, 489)),
)


def cases(window: int) -> tuple[ParityCase, ...]:
    """`CASES`, and contexts of `window` vectors if that is longer than all of them."""
    if window <= max(max(case.lengths) for case in CASES):
        return CASES
    return (
        *CASES,
        ParityCase.in_one_pass(1, window),
        ParityCase.in_pieces(1, (window // 2, window - window // 2)),
    )


def measure(
    reference: Reference,
    engine: Engine,
    cases: Sequence[ParityCase] = CASES,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> Parity:
    """Compare `engine`, which runs the exported graph, with `reference`, case by case.

    Compares the prediction and the state of every row after every piece. Raises `ParityError`
    if an element differs by more than `BOUND`.
    """
    vectors = draw_walk(
        np.random.default_rng(0),
        time=max(max(case.lengths) for case in cases),
        batch=max(len(case.lengths) for case in cases),
    )
    progress(0, len(cases), reference.name)
    expected = _expect(reference, vectors, cases)
    results = []
    for number, case in enumerate(cases):
        progress(number, len(cases), str(case))
        difference = _difference(engine, case, vectors, expected)
        if difference > BOUND:
            raise ParityError(
                f"the graph differs from {reference.name} by {difference:.2e} with {case}; "
                f"the limit is {BOUND:.0e}"
            )
        results.append(
            ParityResult(
                batch=len(case.lengths),
                length=max(case.lengths),
                pieces=case.pieces,
                ragged=case.is_ragged,
                max_abs_difference=difference,
            )
        )
    progress(len(cases), len(cases), "done")
    worst = max(result.max_abs_difference for result in results)
    return Parity(bound=BOUND, max_abs_difference=worst, cases=tuple(results))


def draw_walk(rng: np.random.Generator, time: int, batch: int) -> NDArray[np.float32]:
    """Random unit vectors `[time, batch, dim]` with the statistics of text.

    As with sentence embeddings, neighbours have a mean cosine of about 0.4 and all vectors share
    a direction. Independent noise would be an easier case.
    """
    theme = rng.standard_normal((1, batch, DIM))
    topics = np.repeat(rng.standard_normal((1 + time // 10, batch, DIM)), 10, axis=0)[:time]
    vectors = 0.45 * theme + 0.45 * topics + 0.75 * rng.standard_normal((time, batch, DIM))
    unit: NDArray[np.float32] = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return unit


def _expect(
    reference: Reference, vectors: NDArray[np.float32], cases: Sequence[ParityCase]
) -> dict[int, _Answer]:
    """The predictions and states after each end of a case, of as many rows as the cases have."""
    answers: dict[int, _Answer] = {}
    state, done = None, 0
    for end in sorted(set().union(*(case.ends for case in cases))):
        rows = max(len(case.lengths) for case in cases if case.length >= end)
        kept = None if state is None else np.ascontiguousarray(state[:, :rows])
        answer, state = reference.predict(np.ascontiguousarray(vectors[done:end, :rows]), kept)
        answers[end] = (answer, state)
        done = end
    return answers


def _difference(
    engine: Engine, case: ParityCase, vectors: NDArray[np.float32], expected: dict[int, _Answer]
) -> float:
    batch = len(case.lengths)
    sizes = engine.dimensions
    state = np.zeros((sizes.layers, batch, sizes.hidden), np.float32)
    worst, done = 0.0, 0
    for piece in case.pieces:
        lengths = np.array([min(piece, length - done) for length in case.lengths], np.int32)
        # Short rows are padded with their own next vectors, so that padding that leaks is detected.
        block = np.ascontiguousarray(vectors[done : done + piece, :batch])
        answer, state = engine.run(block, lengths, state)
        done += piece
        for row, length in enumerate(case.lengths):
            wanted_answer, wanted_state = expected[min(done, length)]
            worst = max(
                worst,
                _largest_difference(wanted_answer[row], answer[row]),
                _largest_difference(wanted_state[:, row], state[:, row]),
            )
    return worst


def _largest_difference(expected: NDArray[Any], actual: NDArray[np.float32]) -> float:
    """The largest absolute difference; infinite for a different shape or a NaN."""
    if expected.shape != actual.shape or not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(expected - actual).max())
