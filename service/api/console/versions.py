"""What the start form shows of each version in the repository: size, Hit@5, step P95."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import ValidationError

from service.errors import NextvecError
from service.evaluation_report import EvaluationReport
from service.inference.registry import Registry
from service.manifest import Manifest

VersionRow = dict[str, object]
"""One version as JSON."""


async def version_rows(registry: Registry, folder: Path) -> list[VersionRow]:
    """The versions in the repository `folder`, sorted by name. Sizes are in bytes, times in ms.

    A version whose manifest cannot be read has a `problem` and no figures.
    """
    loaded = {found.manifest.version for found in registry.loaded}
    names = sorted(loaded | registry.available())
    rows = []
    for name in names:
        row: VersionRow = {"version": name, "loaded": name in loaded}
        try:
            manifest = await registry.manifest(name)
        except NextvecError as error:
            rows.append({**row, "problem": str(error)})
            continue
        size = await asyncio.to_thread(_size, folder / name, manifest)
        rows.append({**row, **_figures(manifest), "bytes": size})
    return rows


def _figures(manifest: Manifest) -> VersionRow:
    step = manifest.step_latency
    return {
        "architecture": manifest.architecture,
        "parameters": manifest.parameters,
        "context_window": manifest.context_window,
        "step_p95_ms": None if step is None else step.p95_ms,
        "hit_at_5": hit_at_5(manifest),
    }


def hit_at_5(manifest: Manifest) -> dict[str, object] | None:
    """Hit@5 on the report's first set, which the gate judges: value and 95 % interval, 0..1.

    None without a report, or with one of another checkpoint or window.
    """
    try:
        report = EvaluationReport.model_validate(manifest.evaluation)
    except ValidationError:
        return None
    for section in report.sets:
        score = section.score_of(manifest.source_sha256, manifest.context_window)
        if score is not None and score.hit_at_5 is not None:
            found = score.hit_at_5
            return {
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "set": section.name,
                "pool": section.pool.size,
            }
    return None


def _size(folder: Path, manifest: Manifest) -> int | None:
    """The bytes of the version's files; None if one is missing."""
    try:
        return sum((folder / name).stat().st_size for name in manifest.files)
    except OSError:
        return None
