"""Sessions whose hits were recorded: models on a real text, by `nextvec evaluate hits`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulation.sessions import Counts, Hits, SessionSample, draw_starts

FORMAT = 1


class RecordingError(ValueError):
    """A file that is no recording of hits."""


@dataclass(frozen=True, slots=True)
class HitRecord:
    """Hits `[sessions, predictions]` of models in the same sessions of one text."""

    text: str
    models: Mapping[str, Hits]

    @property
    def sessions(self) -> int:
        return len(next(iter(self.models.values())))


@dataclass(frozen=True, slots=True)
class RecordedSessions:
    """The traffic of a simulated rollout: recorded sessions, drawn at random.

    `stable` and `canary` are hits `[sessions, predictions]` of the two versions in the same
    sessions. The last prediction of a session is never scored, so a session is one prediction
    longer than its record. The other fields are those of `SimulatedSessions`.
    """

    stable: Hits
    canary: Hits
    pause: float = 2.0
    rate: float = 50.0
    interval: float = 15.0
    horizon: float = 3600.0

    @property
    def ratio(self) -> float:
        """The canary's Hit@5 divided by stable's."""
        return float(self.canary.mean() / self.stable.mean())

    def draw(self, weight: float, rng: np.random.Generator) -> SessionSample:
        """The sessions of one rollout; each is on the canary with probability `weight`."""
        sessions, scored = self.stable.shape
        length = scored + 1
        began = draw_starts(length, self.pause, self.rate, self.horizon, rng)
        # All are of one length, so most of the earlier ones have ended.
        began = began[began > -length * self.pause]
        return RecordedSample(
            began,
            np.full(len(began), float(length)),
            self.pause,
            rng.random(len(began)) < weight,
            rng.integers(sessions, size=len(began)),
            self.stable,
            self.canary,
        )


@dataclass(frozen=True, slots=True)
class RecordedSample(SessionSample):
    """Drawn sessions: each repeats the recorded session `record` `[n]` of its version."""

    record: Counts
    stable_hits: Hits
    canary_hits: Hits

    def count_hits(self, scored: Counts, rng: np.random.Generator) -> Counts:
        """See `SessionSample.count_hits`."""
        session = np.repeat(np.arange(len(scored)), scored)
        number = np.arange(len(session)) - np.repeat(np.cumsum(scored) - scored, scored)
        hits = self.draw_hits(session, number, rng)
        return np.bincount(session[hits], minlength=len(scored))

    def draw_hits(self, session: Counts, number: Counts, rng: np.random.Generator) -> Hits:
        """See `SessionSample.draw_hits`; nothing is left to chance."""
        del rng
        place = self.since_start(0.0)[session].astype(np.int64) + number
        record = self.record[session]
        on_canary = self.canary_hits[record, place]
        hits: Hits = np.where(self.canary[session], on_canary, self.stable_hits[record, place])
        return hits


def load(path: Path) -> HitRecord:
    """Read a file of `nextvec evaluate hits`. Raises `RecordingError`, saying what is wrong."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordingError(f"{path}: no recording of hits; make one with nextvec evaluate hits")
    text, models = content.get("text"), content.get("models")
    if not isinstance(text, str) or not isinstance(models, dict) or not models:
        raise RecordingError(f"{path}: needs text and models")
    found = {name: _hits(path, name, rows) for name, rows in models.items()}
    shapes = {hits.shape for hits in found.values()}
    if len(shapes) > 1:
        raise RecordingError(f"{path}: the models have different sessions")
    return HitRecord(text, found)


def _hits(path: Path, name: str, rows: object) -> Hits:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
        raise RecordingError(f"{path}: {name} needs a list of sessions, each a text of 0 and 1")
    if not rows[0] or any(len(row) != len(rows[0]) or set(row) - {"0", "1"} for row in rows):
        raise RecordingError(f"{path}: {name}: sessions must be equally long texts of 0 and 1")
    joined = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), -1)
    hits: Hits = joined == ord("1")
    if not hits.any():
        raise RecordingError(f"{path}: {name} never hits; there is nothing to compare")
    return hits
