"""Two reports side by side, or a refusal that says why they do not compare."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training import scores
from training.bootstrap import INTERVAL, DocumentBootstrap
from training.evaluation import SetScores
from training.report import SCHEMA, difference_table
from training.scores import PositionScores

_POOL = ("dataset_digest", "set", "kind", "size", "seed", "digest")


class ComparisonError(Exception):
    """The reports do not compare; names the first thing in which they differ."""


def save_scores(path: Path, outcomes: Mapping[str, SetScores]) -> None:
    """Every row's rank and cosine at every position, beside the report."""
    arrays: dict[str, Any] = {}
    for name, one in outcomes.items():
        arrays[f"{name}.names"] = np.array(list(one.rows))
        arrays[f"{name}.document"] = one.document
        arrays[f"{name}.rank"] = np.stack([row.rank for row in one.rows.values()])
        arrays[f"{name}.cosine"] = np.stack([row.cosine for row in one.rows.values()])
    np.savez_compressed(path, **arrays)


def compare(first: Path, second: Path) -> str:
    """Every model of `second` less every model of `first`, on each set, in Markdown.

    Raises `ComparisonError` where a pool differs: a figure means nothing without it.
    """
    a, b = _read(first), _read(second)
    if a.keys() != b.keys():
        raise ComparisonError(
            f"{first} has the sets {', '.join(a)} and {second} {', '.join(b)}; "
            "evaluate both with the same nextvec"
        )
    lines: list[str] = []
    for name in a:
        _check_same_pool(first, a[name]["pool"], second, b[name]["pool"])
        old, new = _outcomes(first, name), _outcomes(second, name)
        bootstrap = DocumentBootstrap(old.document)
        items = [
            item
            for later in _models(b[name], new)
            for earlier in _models(a[name], old)
            for item in scores.differences(
                (f"{later} of {second}", new.rows[later]),
                (f"{earlier} of {first}", old.rows[earlier]),
                bootstrap,
            )
        ]
        pool = a[name]["pool"]
        title = (
            f"Held out: {name}, {pool['size']} {pool['kind']} positions (seed {pool['seed']}), "
            f"digest {pool['digest'][:12]}…, the same in both."
        )
        lines += [title, "", *difference_table(items)]
    return "\n".join([*lines, f"In brackets: {INTERVAL}, paired."])


def _check_same_pool(
    first: Path, a: Mapping[str, object], second: Path, b: Mapping[str, object]
) -> None:
    for key in _POOL:
        if a.get(key) != b.get(key):
            raise ComparisonError(
                f"{first} and {second} do not compare: the pool's {key} is {a.get(key)} in one "
                f"and {b.get(key)} in the other; evaluate both on the same data with the same "
                "--pool, --pool-kind and --seed"
            )


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """A report's sets by name."""
    try:
        content = json.loads(path.read_bytes())
        if content["schema_version"] != SCHEMA:
            raise ComparisonError(
                f"{path}: schema {content['schema_version']}, not {SCHEMA}; evaluate again"
            )
        return {one["name"]: one for one in content["sets"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ComparisonError(
            f"{path}: not a report of nextvec evaluate: {type(error).__name__}: {error}"
        ) from error


def _models(one: Mapping[str, Any], outcomes: SetScores) -> list[str]:
    return [
        row["name"]
        for row in one["scores"]
        if row["kind"] == "model" and row["name"] in outcomes.rows
    ]


def _outcomes(report: Path, name: str) -> SetScores:
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
            f"{path}: not what nextvec evaluate writes beside {report.name}: {error}"
        ) from error
