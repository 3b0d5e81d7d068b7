"""The versions that a fleet serves, exported from the shipped checkpoints if they are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from loadtest.demo import environment
from service.manifest import NAME

MODEL = "next-vector"


def export_missing(
    models: Path,
    checkpoints: Path,
    windows: Mapping[str, int],
    out: Path,
    say: Callable[[str], None],
    *more: str,
    replace: bool = False,
) -> None:
    """Export each version of `windows` (context windows in vectors) that is not in `models`.

    With `replace` also those that were exported from another checkpoint or for another window.
    `more` are further options of `nextvec export`. Logs go to `out`. Raises
    `EnvironmentSetupError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for version, window in windows.items():
        checkpoint = checkpoints / f"{version}.safetensors"
        there = (models / MODEL / version / NAME).is_file()
        if there and not replace:
            continue
        if not checkpoint.is_file():
            raise environment.EnvironmentSetupError(
                f"there is no version {version} in {models}, and no {checkpoint} to export"
            )
        if there and environment.is_export_current(models, version, checkpoint, window):
            continue
        say(f"Exporting {version}")
        log = out / f"export-{version}.log"
        environment.export_version(models, version, checkpoint, log, window, *more)
