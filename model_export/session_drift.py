"""How far a session drifts if its steps run in a lower precision, with the state carried along."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from corpora import candidate_pool, retrieval_metrics
from model_export.parity import BOUND, ParityError
from service.inference.engines.engine import Engine
from service.inference.engines.states import advance
from service.manifest import Drift, Precision, PrecisionInfo, SessionHits
from service.types import State, Vectors

FLOOR = 0.99
"""The smallest cosine with fp32 at any step that is published. A smaller one indicates a bug."""

STEPS = 2000

_SEED = 0

Progress = Callable[[int, int, str], None]


def predict_session(
    engine: Engine, stream: Vectors, progress: Callable[[int], None] = lambda _: None
) -> Vectors:
    """Predict after each vector of `stream` `[n, dim]`, in single steps from a cold state."""
    states: Sequence[State] = [_zero_state(engine)]
    one = np.ones(1, np.int32)
    predicted = np.empty_like(stream)
    for i, row in enumerate(stream):
        predicted[i : i + 1], states = advance(engine, row[None, None], one, states)
        progress(i + 1)
    return predicted


def check_equal(
    full: Engine, other: Engine, stream: Vectors, steps: int = 100, bound: float = BOUND
) -> None:
    """Raise `ParityError` if a step on `other` differs from `full` by more than `bound`."""
    read = stream[:steps]
    apart = float(np.abs(predict_session(full, read) - predict_session(other, read)).max())
    if not apart <= bound:
        raise ParityError(
            f"the {other.precision} step differs from the graph for contexts by {apart:.2e} "
            f"within {steps} steps; the limit is {bound:.0e}"
        )


def compare(expected: Vectors, got: Vectors, provider: str, floor: float = FLOOR) -> Drift:
    """Compare predictions `[n, dim]` with those in fp32. Raises `ParityError` below `floor`."""
    cosines = np.einsum("nd,nd->n", expected, got, dtype=np.float64)
    worst = int(np.argmin(cosines))  # finds a NaN, too
    if not cosines[worst] >= floor:
        raise ParityError(
            f"after {worst + 1} steps the prediction has cosine {cosines[worst]:.6f} with fp32's; "
            f"the minimum is {floor}"
        )
    return Drift(
        steps=len(cosines),
        min_cosine=float(cosines[worst]),
        worst_step=worst + 1,
        mean_cosine=float(np.mean(cosines)),
        provider=provider,
    )


def hits(predicted: Vectors, stream: Vectors) -> SessionHits:
    """Hit@5 of `predicted` `[n, dim]`; row i predicts row i + 1 of `stream` `[≥ n, dim]`.

    The pool is half of the positions, a thousand at 2,000 steps. It is the same for every
    precision of every version.
    """
    steps = min(len(predicted), len(stream) - 1)
    pool = candidate_pool.random_pool(steps + 1, (steps + 1) // 2, _SEED)
    ranks = retrieval_metrics.ranks(predicted[pool.targets - 1], stream[pool.targets])
    return SessionHits(
        stream_sha256=hashlib.sha256(stream[: steps + 1].tobytes()).hexdigest(),
        steps=steps,
        pool=pool.size,
        seed=_SEED,
        hit_at_5=retrieval_metrics.hit_at(ranks, 5),
    )


def measure(
    full: Engine,
    others: Mapping[Precision, Engine],
    stream: Vectors,
    window: int,
    steps: int = STEPS,
    progress: Progress = lambda _done, _total, _text: None,
) -> dict[Precision, PrecisionInfo]:
    """Run one session over `stream` `[n, dim]` on `full`, in fp32, and on each of `others`.

    fp16 also runs whole contexts, so one of `window` vectors is compared as well. Raises
    `ParityError`, naming the precision, if its predictions are too far from fp32's.
    """
    stream = stream[: steps + 1]
    read = stream[:steps]
    exact = predict_session(full, read, partial(_show, progress, "fp32", len(read)))
    found: dict[Precision, PrecisionInfo] = {"fp32": PrecisionInfo(hits=hits(exact, stream))}
    for precision, engine in others.items():
        got = predict_session(engine, read, partial(_show, progress, precision, len(read)))
        try:
            drift = compare(exact, got, engine.provider)
        except ParityError as error:
            raise ParityError(f"{precision}: {error}; export without --{precision}") from error
        context = None
        if precision == "fp16":
            context = float(
                np.vdot(
                    _predict_context(full, read[:window]), _predict_context(engine, read[:window])
                )
            )
        found[precision] = PrecisionInfo(
            drift=drift, context_cosine=context, hits=hits(got, stream)
        )
    return found


def _predict_context(engine: Engine, context: Vectors) -> Vectors:
    lengths = np.array([len(context)], np.int32)
    return advance(engine, context[:, None], lengths, [_zero_state(engine)])[0]


def _zero_state(engine: Engine) -> State:
    return np.zeros((engine.dimensions.layers, engine.dimensions.hidden), np.float32)


def _show(progress: Progress, name: str, total: int, done: int) -> None:
    progress(done, total, name)
