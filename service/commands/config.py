"""`nextvec config`: check or show what `nextvec serve` would run with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from service.api.tls import certificate_loader
from service.commands.options import ConfigOption, OutputFormat, examples, new_app
from service.commands.terminal import make_console
from service.errors import NextvecError
from service.rollout.analysis.sources.prometheus_api import prometheus_tls
from service.rollout.assembly import check_database
from service.rollout.plan.plan_file import load_plan
from service.rollout.plan.plan_floor import make_floor
from service.settings.catalog import catalog
from service.settings.loader import (
    ConfigurationError,
    LoadedSettings,
    load_settings,
    mask_secrets,
    value_of,
)

app = new_app(no_args_is_help=True)


@app.callback(
    help="Check or show the configuration of the service.",
    epilog=examples("nextvec config check", "nextvec config show --output json"),
)
def _config() -> None:
    """The group of the commands below."""


@app.command(
    epilog=examples(
        "nextvec config check",
        "nextvec config check --config /etc/nextvec/nextvec.toml",
    )
)
def check(config: ConfigOption = None, output: OutputFormat = "text") -> None:
    """Check the configuration file, the environment and the files that they name.

    Exits with 1 and names every fault if `nextvec serve` would refuse to start with it.
    """
    try:
        loaded = load_settings(os.environ, config=config)
    except ConfigurationError as error:
        problems, warnings = error.problems, error.warnings
    else:
        problems, warnings = _file_problems(loaded), loaded.warnings
    if output == "json":
        result = {"valid": not problems, "problems": problems, "warnings": list(warnings)}
        print(json.dumps(result, indent=2))
    else:
        for line in (*(f"warning: {each}" for each in warnings), *problems):
            print(line, file=sys.stderr)
        if not problems:
            print(f"the configuration is valid: {_summary(loaded)}")
    if problems:
        raise typer.Exit(1)


@app.command(epilog=examples("nextvec config show", "nextvec config show --changed --output json"))
def show(
    *,
    config: ConfigOption = None,
    changed: bool = typer.Option(
        False,  # noqa: FBT003  Typer's default
        "--changed",
        help="Leave out the settings that have their default.",
    ),
    output: OutputFormat = "text",
) -> None:
    """Show every setting, its value and its source. Secrets are hidden."""
    loaded = load_settings(os.environ, config=config)
    rows = [row for row in _rows(loaded) if not changed or row["source"] != "default"]
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if output == "json":
        file = None if loaded.file is None else str(loaded.file)
        print(json.dumps({"file": file, "settings": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "source"):
        table.add_column(name, overflow="fold")
    for row in rows:
        # Values are data: `Text` keeps brackets that Rich would take for markup.
        table.add_row(*(Text(part) for part in (row["key"], _text(row["value"]), row["source"])))
    make_console().print(table)


def _rows(loaded: LoadedSettings) -> list[dict[str, Any]]:
    return [
        {
            "key": info.key,
            "variable": info.variable,
            "value": mask_secrets(value_of(loaded.settings, info)),
            "source": loaded.sources.get(info.key, "default"),
        }
        for info in catalog()
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _summary(loaded: LoadedSettings) -> str:
    file = "no configuration file" if loaded.file is None else str(loaded.file)
    return f"{len(loaded.sources)} of {len(catalog())} settings set, {file}"


def _file_problems(loaded: LoadedSettings) -> list[str]:
    """Return what is wrong with the files that the settings name."""
    problems = []
    settings = loaded.settings
    if not Path(settings.models).is_dir():
        problems.append(f"models: {settings.models} is not a directory; nextvec export creates it")
    try:
        plan = load_plan(settings.rollout.plan)
        make_floor(settings.rollout.floor.model_dump(), plan)
    except NextvecError as error:
        problems.append(f"rollout.plan: {error}")
    try:
        certificate_loader(settings.tls)
        prometheus_tls(settings.rollout)
    except ConfigurationError as error:
        problems += error.problems
    try:
        check_database(settings.rollout)
    except ConfigurationError as error:
        problems += error.problems
    except NextvecError as error:
        problems.append(str(error))
    return problems
