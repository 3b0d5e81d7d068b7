"""What an evaluation report says of one checkpoint, for its version's manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 2


class EvaluationError(Exception):
    """The report does not speak of this checkpoint; says what to do."""


def of_checkpoint(report: Path, source_sha256: str, window: int) -> dict[str, object]:
    """The figures of one checkpoint at one window, with their pools and baselines.

    `report` is the JSON that `nextvec evaluate` wrote. A score means nothing
    without its pool, another checkpoint's score means nothing here, and neither
    does one on documents that the model was trained on: so all three are looked
    for. Of the sets that are left the first gives `set`, `pool`, `score`,
    `baselines` and `differences`, and the others are under `other_sets`; in
    `differences`, `a` is always this checkpoint. Raises `EvaluationError`.
    """
    try:
        content = json.loads(report.read_bytes())
        version = content["schema_version"]
        if version != SCHEMA:
            raise EvaluationError(f"{report}: schema {version}, not {SCHEMA}; evaluate again")
        shared = {key: content[key] for key in ("data", "interval")}
        found = [_of_set(one, source_sha256, window) for one in content["sets"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EvaluationError(
            f"{report}: not a report of nextvec evaluate: {type(error).__name__}: {error}"
        ) from error
    if not any(found):
        raise EvaluationError(
            f"{report}: has no score of this checkpoint with a window of {window} on documents "
            f"held out for it; run nextvec evaluate CHECKPOINT:{window}"
        )
    first, *others = [one for one in found if one]
    return {**shared, **first, "other_sets": others}


def _of_set(one: Mapping[str, Any], source_sha256: str, window: int) -> dict[str, object] | None:
    """What one set says of the checkpoint; None where nothing that counts."""
    own = [
        score
        for score in one["scores"]
        if score["checkpoint_sha256"] == source_sha256
        and score["window"] == window
        and score["held_out"] is not False
        and "hit_at_5" in score
    ]
    if not own:
        return None
    return {
        "set": one["name"],
        "pool": one["pool"],
        "score": own[0],
        "baselines": [score for score in one["scores"] if score["kind"] == "baseline"],
        "differences": [
            item
            for item in [*one["differences"], *map(_turned, one["differences"])]
            if item["a_checkpoint_sha256"] == source_sha256 and item["a_window"] == window
        ],
    }


def _turned(item: Mapping[str, Any]) -> dict[str, Any]:
    """The same difference the other way round: `b` less `a`."""
    return {
        "a": item["b"],
        "b": item["a"],
        "metric": item["metric"],
        "difference": -item["difference"],
        "low": -item["high"],
        "high": -item["low"],
        "a_checkpoint_sha256": item["b_checkpoint_sha256"],
        "a_window": item["b_window"],
        "b_checkpoint_sha256": item["a_checkpoint_sha256"],
        "b_window": item["a_window"],
    }
