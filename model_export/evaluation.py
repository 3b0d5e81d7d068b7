"""What an evaluation report says of one checkpoint, for its version's manifest."""

from __future__ import annotations

import json
from pathlib import Path


class EvaluationError(Exception):
    """The report does not speak of this checkpoint; says what to do."""


def of_checkpoint(report: Path, source_sha256: str, window: int) -> dict[str, object]:
    """The figures of one checkpoint at one window, with their pool and baselines.

    `report` is the JSON that `nextvec evaluate` wrote. A score means nothing
    without its pool, and another checkpoint's score means nothing here, so
    both are looked for. Raises `EvaluationError`.
    """
    try:
        content = json.loads(report.read_bytes())
        scores = content["scores"]
        shared = {key: content[key] for key in ("data", "pool", "interval")}
        own = [
            score
            for score in scores
            if score.get("checkpoint_sha256") == source_sha256 and score.get("window") == window
        ]
        baselines = [score for score in scores if score.get("kind") == "baseline"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(
            f"{report}: not a report of nextvec evaluate: {type(error).__name__}: {error}"
        ) from error
    if not own:
        raise EvaluationError(
            f"{report}: has no score of this checkpoint with a window of {window}; "
            f"run nextvec evaluate CHECKPOINT:{window}"
        )
    return {**shared, "score": own[0], "baselines": baselines}
