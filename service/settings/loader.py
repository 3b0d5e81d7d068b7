"""The settings from all sources, and the source of each value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from service.errors import NextvecError
from service.settings.catalog import SettingInfo, catalog, groups, suggestion
from service.settings.config_file import read_config_file
from service.settings.environment import CONFIG_VARIABLE, read_environment
from service.settings.groups import Settings
from service.settings.raw_values import RawSettings, RawValue
from service.settings.urls import ServiceUrl, hide_user_info

DEFAULT_FILE = Path("nextvec.toml")
"""Read when no other file is named, if it exists in the working directory."""

HIDDEN = "(hidden)"


class ConfigurationError(NextvecError):
    """The configuration is wrong; `problems` has one line for each fault.

    `warnings` are those of the sources, as in `LoadedSettings`.
    """

    code = "configuration"

    def __init__(self, problems: list[str], warnings: tuple[str, ...] = ()) -> None:
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            super().__init__("\n  ".join(["the configuration has these faults:", *problems]))
        self.problems = problems
        self.warnings = warnings


@dataclass(frozen=True)
class LoadedSettings:
    """The settings, where each value that is not a default came from, and warnings.

    `sources` has the key of a setting, such as `engine.device`. `file` is the
    configuration file, or None.
    """

    settings: Settings
    file: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_settings(
    environ: Mapping[str, str],
    *,
    config: Path | None = None,
    options: Mapping[str, object] | None = None,
) -> LoadedSettings:
    """Return the settings from the file, the environment and the options; the last one wins.

    `config` is the file's path, else `NEXTVEC_CONFIG`, else `nextvec.toml` if it exists.
    `options` has the settings that the command line gave, by name; `http__workers` is a setting
    of a group. Raises `ConfigurationError` with every fault of all sources.
    """
    file = _config_path(environ, config)
    layers = [read_config_file(file)] if file is not None else []
    layers.append(read_environment(environ))
    layers.append(_from_options(options or {}))
    values: dict[tuple[str, ...], RawValue] = {}
    for layer in layers:
        values |= layer.values
    problems = [problem for layer in layers for problem in layer.problems]
    try:
        settings = Settings.model_validate(_tree(values))
    except ValidationError as error:
        problems += _describe(error.errors(include_url=False), values)
    warnings = tuple(warning for layer in layers for warning in layer.warnings)
    if problems:
        raise ConfigurationError(problems, warnings)
    return LoadedSettings(
        settings,
        file,
        {".".join(path): value.source for path, value in values.items()},
        warnings,
    )


def value_of(settings: Settings, info: SettingInfo) -> Any:
    """Return a setting's value."""
    value: Any = settings
    for name in info.path:
        value = getattr(value, name)
    return value


def mask_secrets(value: Any) -> Any:
    """Return a value in a form for JSON, without its secrets."""
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, ServiceUrl | Path):
        return str(value)
    if isinstance(value, BaseModel):
        return {name: mask_secrets(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): mask_secrets(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [mask_secrets(each) for each in value]
    return value


def _config_path(environ: Mapping[str, str], config: Path | None) -> Path | None:
    if config is not None:
        return config
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if named:
        return Path(named)
    # A directory or a broken link is a mistake of who mounts the file, and read as an error.
    return DEFAULT_FILE if os.path.lexists(DEFAULT_FILE) else None


def _from_options(options: Mapping[str, object]) -> RawSettings:
    found = RawSettings()
    for name, value in options.items():
        option = f"--{name.replace('__', '-').replace('_', '-')}"
        if isinstance(value, str | Path) and not str(value).strip():
            found.problems.append(f"{option} is blank: give it a value, or leave it out")
        else:
            found.values[tuple(name.split("__"))] = RawValue(value, f"option {option}")
    return found


def _tree(values: Mapping[tuple[str, ...], RawValue]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, raw in values.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = raw.value
    return tree


def _describe(
    errors: Iterable[ErrorDetails], values: Mapping[tuple[str, ...], RawValue]
) -> list[str]:
    """Return a line for each faulty setting. A setting of several types has an error of each."""
    reasons: dict[str, list[str]] = {}
    for error in errors:
        place, reason = _place(error, values)
        reasons.setdefault(place, []).append(reason)
    return [f"{place}: {' or '.join(each)}" for place, each in reasons.items()]


def _place(error: ErrorDetails, values: Mapping[tuple[str, ...], RawValue]) -> tuple[str, str]:
    """Return which setting, from which source and with which value; and what is wrong."""
    path = tuple(str(part) for part in error["loc"])
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "path_type":
        reason = "should be a path"
    for info in catalog():
        length = len(info.path)
        if info.path != path[:length]:
            continue
        # Within a value that is no list and no table, the path names the types that were tried.
        within = path[length:] if info.is_structured else ()
        inner = "".join(f"[{each}]" if each.isdigit() else f".{each}" for each in within)
        raw = values.get(info.path)
        if raw is None:
            return f"{info.key}{inner}", reason
        value = "" if info.is_secret else f" = {_cut(raw.value)}"
        if error["type"] == "extra_forbidden" and info.item_model is not None:
            reason = f"is not a field{suggestion(path[-1], info.item_model.model_fields)}"
        return f"{info.key}{inner}{value} from {raw.source}", f"{reason}{_unit(info)}"
    # A check of a whole group, or of the tree.
    inside = [value.source for name, value in values.items() if name[: len(path)] == path]
    place = ".".join(path) if path in groups() and path else "the configuration"
    return place, reason + (f" (set by {', '.join(sorted(set(inside)))})" if inside else "")


def _cut(value: object) -> str:
    text = hide_user_info(repr(str(value) if isinstance(value, Path) else value))
    return text if len(text) <= 80 else f"{text[:80]}…"


def _unit(info: SettingInfo) -> str:
    """Return the unit and an example, for a number."""
    name = info.path[-1]
    unit = next(
        (unit for unit in ("seconds", "bytes", "vectors") if name.endswith(f"_{unit}")), None
    )
    kinds = {int, float} & {info.field.annotation, *getattr(info.field.annotation, "__args__", ())}
    if not kinds:
        return ""
    example = cast("list[object]", info.field.examples or [info.field.default])[0]
    return f" (a number{f' of {unit}' if unit else ''} without a unit, for example {example})"
