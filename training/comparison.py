"""Compares the models of two evaluation reports, if both reports used the same pools."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service import evaluation_report
from service.evaluation_report import HeldOutSection, PairedDifference, PoolInfo, ReportError
from training import scores
from training.bootstrap import INTERVAL, DocumentBootstrap
from training.evaluation import SetScores
from training.report_markdown import difference_table, pool_text
from training.scores import PositionScores

_POOL_FIELDS = ("dataset_digest", "set", "kind", "size", "seed", "digest")


class ComparisonError(Exception):
    """The reports are not comparable; the message names the first difference between them."""


def save_scores(path: Path, all_scores: Mapping[str, SetScores]) -> None:
    """Write the rank and cosine of every row at every position as `.npz`, beside the report."""
    arrays: dict[str, Any] = {}
    for name, one in all_scores.items():
        arrays[f"{name}.names"] = np.array(list(one.rows))
        arrays[f"{name}.document"] = one.document
        arrays[f"{name}.rank"] = np.stack([row.rank for row in one.rows.values()])
        arrays[f"{name}.cosine"] = np.stack([row.cosine for row in one.rows.values()])
    np.savez_compressed(path, **arrays)


def compare(first: Path, second: Path) -> str:
    """Every model of `second` minus every model of `first` on each set, in Markdown.

    Raises `ComparisonError` if a pool differs: a score is meaningless on another pool.
    """
    a, b = _sections(first), _sections(second)
    if a.keys() != b.keys():
        raise ComparisonError(
            f"{first} has the sets {', '.join(a)} and {second} {', '.join(b)}; "
            "evaluate both with the same nextvec"
        )
    lines: list[str] = []
    for name in a:
        pool = a[name].pool
        _check_same_pool(first, pool, second, b[name].pool)
        title = (
            f"Held out: {name}, {pool_text(pool)}, digest {(pool.digest or '')[:12]}…, "
            "the same in both."
        )
        items = _differences((first, a[name]), (second, b[name]))
        lines += [title, "", *difference_table(items)]
    return "\n".join([*lines, f"In brackets: {INTERVAL}, paired."])


def _differences(
    first: tuple[Path, HeldOutSection], second: tuple[Path, HeldOutSection]
) -> list[PairedDifference]:
    (a_path, a), (b_path, b) = first, second
    old, new = _read_scores(a_path, a.name), _read_scores(b_path, b.name)
    bootstrap = DocumentBootstrap(old.document)
    return [
        item
        for later in _models(b, new)
        for earlier in _models(a, old)
        for item in scores.differences(
            (f"{later} of {b_path}", new.rows[later]),
            (f"{earlier} of {a_path}", old.rows[earlier]),
            bootstrap,
        )
    ]


def _check_same_pool(first: Path, a: PoolInfo, second: Path, b: PoolInfo) -> None:
    for field in _POOL_FIELDS:
        in_a, in_b = getattr(a, field), getattr(b, field)
        if in_a != in_b:
            raise ComparisonError(
                f"{first} and {second} are not comparable: the pool's {field} is {in_a} in one "
                f"and {in_b} in the other; evaluate both on the same data with the same --pool, "
                "--pool-kind and --seed"
            )


def _sections(path: Path) -> dict[str, HeldOutSection]:
    """The report's sections by the name of their set."""
    try:
        report = evaluation_report.load(path)
    except ReportError as error:
        raise ComparisonError(str(error)) from error
    return {section.name: section for section in report.sets}


def _models(section: HeldOutSection, set_scores: SetScores) -> list[str]:
    return [
        score.name
        for score in section.scores
        if score.kind == "model" and score.name in set_scores.rows
    ]


def _read_scores(report: Path, name: str) -> SetScores:
    path = report.with_suffix(".npz")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            rows = zip(
                archive[f"{name}.names"].tolist(),
                archive[f"{name}.rank"],
                archive[f"{name}.cosine"],
                strict=True,
            )
            return SetScores(
                archive[f"{name}.document"],
                {str(key): PositionScores(rank, cosine) for key, rank, cosine in rows},
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ComparisonError(
            f"{path}: not the scores that nextvec evaluate writes beside {report.name}: {error}"
        ) from error
