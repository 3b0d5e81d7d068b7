"""The quality of a session past its window, in each way that the service can serve it.

    python -m model_export.session_quality VERSION …

runs the served graphs on the sample stream. `exact` recomputes the window at every target.
`anchored` keeps its state from the service's restart positions and takes single steps, in each
precision of the version. A compact history recomputes from vectors stored in 8 bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from corpora import candidate_pool, retrieval_metrics
from corpora.corpus import CorpusError
from corpora.sample import load_vectors
from service.contexts.history import History
from service.contexts.window import starts
from service.errors import NextvecError
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import Repository
from service.manifest import STEP_INT8
from service.types import Vectors

ROWS = 25
"""Windows in a batch; a batch of 1000-vector windows takes 77 MB."""

Targets = NDArray[np.int64]
Each = Callable[[list[Targets]], "Iterator[Targets] | list[Targets]"]


@dataclass(frozen=True)
class ServingMode:
    """One way to serve: its Hit@5, and the cosines of its predictions with those of `exact`.

    `gained` and `lost` are hits that `exact` has not, and hits that only `exact` has.
    """

    name: str
    hit_at_5: float
    gained: int
    lost: int
    mean_cosine: float
    min_cosine: float


def exact(
    engine: Engine, stream: Vectors, targets: Targets, window: int, each: Each = iter
) -> Vectors:
    """Predict each of `targets` ≥ `window` from the window before it: `[targets, dim]`."""
    predicted = []
    batches = [targets[first : first + ROWS] for first in range(0, len(targets), ROWS)]
    for batch in each(batches):
        block = np.ascontiguousarray(stream[batch - window + np.arange(window)[:, None]])
        lengths = np.full(len(batch), window, np.int32)
        predicted.append(engine.run(block, lengths, _zero_state(engine, len(batch)))[0])
    return np.concatenate(predicted)


def anchored(step: Engine, stream: Vectors, targets: Targets, window: int) -> Vectors:
    """Predict as a session that grows by single vectors; all starts run as one batch."""
    begins = np.array([starts("anchored", window, int(target))[0] for target in targets])
    anchors = np.unique(begins)
    predicted = np.empty((len(targets), stream.shape[1]), np.float32)
    state, ones = _zero_state(step, len(anchors)), np.ones(len(anchors), np.int32)
    for done in range(int((targets - begins).max())):
        # An anchor has no targets past the stream's end, so any row will do.
        rows = stream[np.minimum(anchors + done, len(stream) - 1)]
        answers, state = step.run(rows[None], ones, state)
        wanted = np.flatnonzero(targets - begins == done + 1)
        predicted[wanted] = answers[np.searchsorted(anchors, begins[wanted])]
    return predicted


def with_rounding_noise(stream: Vectors, seed: int = 0) -> Vectors:
    """Undo the sample's 8-bit rounding by adding random noise of half a step.

    Without that, a compact history, which rounds to the same steps, would seem to lose nothing.
    """
    step = np.abs(stream).max(axis=1, keepdims=True) / np.float32(127)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, stream.shape).astype(np.float32)
    noisy: Vectors = stream + noise * step
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return noisy


def compact(stream: Vectors) -> Vectors:
    """`stream` after a round trip through a compact history."""
    history = History(len(stream), stream.shape[1], compact=True)
    history.append(stream)
    return history.last(len(stream))


def measure(
    full: Engine,
    steps: dict[str, Engine],
    stream: Vectors,
    window: int,
    pool_size: int,
    each: Each = iter,
) -> list[ServingMode]:
    """Measure every way to serve a session past `window`, `exact` first.

    Raises `ValueError` if the stream is too short for the pool.
    """
    pool = candidate_pool.draw_pool("random", len(stream), pool_size, 0, first=window + 1)
    targets = pool.targets
    reference = exact(full, stream, targets, window, each)
    ways = {
        "exact": reference,
        "exact, compact history": exact(full, compact(stream), targets, window, each),
        **{
            f"anchored, steps in {precision}": anchored(step, stream, targets, window)
            for precision, step in steps.items()
        },
    }
    before = retrieval_metrics.ranks(reference, stream[targets]) <= 5
    lines = []
    for way, predicted in ways.items():
        hit = retrieval_metrics.ranks(predicted, stream[targets]) <= 5
        cosines = np.einsum("nd,nd->n", reference, predicted, dtype=np.float64)
        lines.append(
            ServingMode(
                way,
                float(hit.mean()),
                int((hit & ~before).sum()),
                int((before & ~hit).sum()),
                float(cosines.mean()),
                float(cosines.min()),
            )
        )
    return lines


def _zero_state(engine: Engine, batch: int) -> NDArray[np.float32]:
    return np.zeros((engine.dimensions.layers, batch, engine.dimensions.hidden), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model_export.session_quality")
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--models", type=Path, default=Path("models"), help="%(default)s")
    parser.add_argument("--model", default="next-vector", help="%(default)s")
    parser.add_argument("--pool", type=int, default=500, help="positions (%(default)s)")
    args = parser.parse_args()
    try:
        _print_all(args)
    except (NextvecError, CorpusError, ValueError) as error:
        raise SystemExit(f"python -m model_export.session_quality: {error}") from error


def _print_all(args: argparse.Namespace) -> None:
    stream = with_rounding_noise(load_vectors())
    print(f"{args.pool} random positions past the window, seed 0, of the sample's {len(stream)}.\n")
    print("| version | way | Hit@5 | gained, lost | mean cosine with exact | smallest |")
    print("|---|---|---:|---:|---:|---:|")
    for version in args.versions:
        files = Repository(args.models, args.model).open(version)
        full = OnnxEngine(files.graph, files.manifest.dimensions)
        steps: dict[str, Engine] = {"fp32": full}
        if STEP_INT8 in files.manifest.files:
            steps["int8"] = OnnxEngine(files.graph.with_name(STEP_INT8), files.manifest.dimensions)
        window = files.manifest.context_window
        for line in measure(full, steps, stream, window, args.pool, _show_progress):
            print(
                f"| {version} | {line.name} | {line.hit_at_5:.1%} | {line.gained}, {line.lost} "
                f"| {line.mean_cosine:.5f} | {line.min_cosine:.5f} |"
            )


def _show_progress(batches: list[Targets]) -> Iterator[Targets]:
    yield from track(batches, "recomputing", transient=True)


if __name__ == "__main__":
    main()
