"""What one session sent and was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.types import Vector


@dataclass(frozen=True)
class Answer:
    """The prediction after `length` vectors, by `version`, `at` seconds into the run."""

    length: int
    version: str
    vector: Vector
    at: float


@dataclass
class Transcript:
    """A session of caller `caller`, whose vectors are its stream's from row `start` on."""

    session: str
    caller: int
    start: int
    answers: list[Answer] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The most vectors that an answer has seen."""
        return max((answer.length for answer in self.answers), default=0)
