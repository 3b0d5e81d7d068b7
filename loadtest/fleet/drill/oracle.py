"""The oracle: what each answer should have been, from the exported graph run directly.

It runs every session of a batch from an empty state, one vector a run, and so knows the right
prediction after each vector. Sessions must be no longer than the version's window: then a session
that was carried over, recomputed or never moved has the same answer.

A replica that takes a session over computes its state again from vectors in 8 bits. The sample's
vectors are stored in 8 bits already, so that this changes nothing: 1 − cos of a right answer is
below 1e-12. Without one of the last six vectors, or with one twice, it is above 2e-4 with the
shipped models; a test repeats that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.fleet.drill.transcript import Answer, Transcript
from loadtest.streams import Streams
from service.inference.engines.engine import Engine
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import Repository

DISTANCE = 1e-5
"""The largest 1 − cos between an answer in fp32 and the oracle's."""

DISTANCE_INT8 = 2e-4
"""The same for a fleet that may run its steps in 8 bits. Of a wrong history, the oracle then sees
what the last six vectors change."""

_BATCH = 32


@dataclass(frozen=True)
class WrongAnswer:
    """An answer that is not the oracle's. `distance` is 1 − cos; NaN for an unknown version."""

    session: str
    answer: Answer
    distance: float


@dataclass(frozen=True)
class Verification:
    """What the oracle says of all answers: how many, the wrong ones, the largest right distance."""

    answers: int
    wrong: tuple[WrongAnswer, ...]
    distance: float


class Oracle:
    """Checks answers. `engines` run the exported graphs, by version; `most` is the largest
    distance of a right answer."""

    def __init__(
        self, engines: Mapping[str, Engine], streams: Streams, most: float = DISTANCE
    ) -> None:
        self._engines = engines
        self._streams = streams
        self._most = most

    @staticmethod
    def of_repository(
        models: Path,
        model: str,
        versions: Iterable[str],
        streams: Streams,
        most: float = DISTANCE,
    ) -> Oracle:
        """An oracle on the CPU, in fp32. Raises `NotFound` and `VersionError`."""
        found = [Repository(models, model).open(version) for version in versions]
        engines = {
            files.manifest.version: OnnxEngine(files.graph, files.manifest.dimensions)
            for files in found
        }
        return Oracle(engines, streams, most)

    def verify(self, transcripts: Iterable[Transcript]) -> Verification:
        """Compare every answer with the graph's. Takes some milliseconds a vector: use a thread."""
        wrong: list[WrongAnswer] = []
        count, largest = 0, 0.0
        # Sessions of about one length together, so that no batch runs for one long session.
        ordered = iter(sorted((t for t in transcripts if t.answers), key=lambda t: t.length))
        while batch := list(islice(ordered, _BATCH)):
            for transcript, answer, distance in self._compare(batch):
                count += 1
                if distance <= self._most:
                    largest = max(largest, distance)
                else:
                    wrong.append(WrongAnswer(transcript.session, answer, distance))
        return Verification(count, tuple(wrong), largest)

    def expected(self, version: str, transcripts: Sequence[Transcript]) -> NDArray[np.float32]:
        """The predictions of `version` after each vector: `[vectors, transcripts, dim]`.

        Raises `KeyError` for an unknown version, and what `Engine.run` raises.
        """
        engine = self._engines[version]
        sizes = engine.dimensions
        steps = max(transcript.length for transcript in transcripts)
        rows = np.stack(
            [self._streams.read(each.caller, each.start, steps) for each in transcripts], axis=1
        )
        state = np.zeros((sizes.layers, len(transcripts), sizes.hidden), np.float32)
        lengths = np.ones(len(transcripts), np.int32)
        predictions = np.empty((steps, len(transcripts), sizes.dim), np.float32)
        for step, row in enumerate(rows):
            predictions[step], state = engine.run(row[None], lengths, state)
        return predictions

    def _compare(self, batch: Sequence[Transcript]) -> Iterator[tuple[Transcript, Answer, float]]:
        """Each answer with its 1 − cos."""
        versions = {answer.version for each in batch for answer in each.answers}
        expected = {
            version: self.expected(version, batch) for version in versions & self._engines.keys()
        }
        for column, transcript in enumerate(batch):
            for answer in transcript.answers:
                known = expected.get(answer.version)
                if known is None or not answer.length:
                    yield transcript, answer, float("nan")
                else:
                    yield (
                        transcript,
                        answer,
                        distance(answer.vector, known[answer.length - 1, column]),
                    )


def distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """1 − cos of two vectors; infinite if one has no direction."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(norms) or norms == 0:
        return float("inf")
    return max(0.0, 1.0 - float(a @ b) / norms)
