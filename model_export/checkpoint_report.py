"""What an evaluation report says about one checkpoint, for its version's manifest."""

from __future__ import annotations

from pathlib import Path

from service import evaluation_report
from service.evaluation_report import ReportError


def for_manifest(report: Path, source_sha256: str, window: int) -> dict[str, object]:
    """The part of the `nextvec evaluate` report about one checkpoint at one window, as JSON.

    Keeps, for each held-out set that the checkpoint was not trained on, its score, its paired
    differences, the baselines and the pool. Raises `ReportError` if there is no such set.
    """
    found = evaluation_report.load(report).for_checkpoint(source_sha256, window)
    if found is None:
        raise ReportError(
            f"{report}: has no score of this checkpoint with a window of {window} on documents "
            f"held out from its training; run nextvec evaluate CHECKPOINT:{window}"
        )
    content: dict[str, object] = found.model_dump(mode="json")
    return content
