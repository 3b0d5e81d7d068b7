"""Settings from environment variables.

Every variable that begins with `NEXTVEC_` must have a meaning. An unknown one is a problem,
because a misspelt setting would silently not apply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.settings.catalog import PREFIX, SettingInfo, catalog, groups, suggestion
from service.settings.raw_values import RawSettings

CONFIG_VARIABLE = "NEXTVEC_CONFIG"

OTHER_VARIABLES = frozenset(
    {CONFIG_VARIABLE, "NEXTVEC_API_KEY", "NEXTVEC_SCREENSHOTS", "NEXTVEC_TOKEN", "NEXTVEC_URL"}
)
"""Variables that other commands and the tests read. They are not settings of the service."""

# What Kubernetes sets in every pod for a Service called `nextvec` or `nextvec-…`.
_SERVICE_VARIABLES = (
    (re.compile(r"NEXTVEC(_\w+)?_SERVICE_HOST"), re.compile(r"[0-9a-fA-F.:]+|None")),
    (re.compile(r"NEXTVEC(_\w+)?_SERVICE_PORT(_\w+)?"), re.compile(r"\d+")),
    (re.compile(r"NEXTVEC(_\w+)?_PORT(_\d+_(TCP|UDP|SCTP))?"), re.compile(r"(tcp|udp|sctp)://.*")),
    (
        re.compile(r"NEXTVEC(_\w+)?_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)"),
        re.compile(r"tcp|udp|sctp|\d+|[0-9a-fA-F.:]+"),
    ),
)


def read_environment(environ: Mapping[str, str]) -> RawSettings:
    """Return what the variables set. Upper and lower case are the same."""
    found = RawSettings()
    by_variable = {info.variable: info for info in catalog()}
    files = {f"{info.variable}_FILE": info for info in catalog() if info.is_secret}
    ignored = []
    seen: dict[str, str] = {}
    for given, text in sorted(environ.items()):
        name = given.upper()
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if _is_service_variable(name, text):
            ignored.append(given)
        elif name in seen:
            found.problems.append(f"{seen[name]} and {given} are the same setting: set one of them")
        elif name in by_variable:
            _read_variable(found, given, text, by_variable[name])
        elif name in files:
            _read_file_variable(found, given, text, files[name])
        else:
            found.problems.append(_unknown(given, [*by_variable, *files]))
        seen[name] = given
    if ignored:
        found.warnings.append(
            f"{', '.join(ignored)}: set by Kubernetes for a Service of this name, and ignored; "
            "enableServiceLinks: false in the pod's specification leaves them out"
        )
    return found


def _is_service_variable(name: str, text: str) -> bool:
    return any(
        variable.fullmatch(name) and value.fullmatch(text.strip())
        for variable, value in _SERVICE_VARIABLES
    )


def _read_variable(found: RawSettings, name: str, text: str, info: SettingInfo) -> None:
    if not text.strip() and not info.may_be_blank:
        if info.is_secret:
            # Blank text where a secret was meant would disable a protection without a word.
            found.problems.append(f"{name} is blank: give it a value, or remove the variable")
        else:
            found.warnings.append(f"{name} is blank and counts as unset")
        return
    if not info.is_secret and text != text.strip():
        found.warnings.append(f"{name}: blanks around the value are ignored")
        text = text.strip()
    found.set_text(name, text, info, f"environment ({name})")


def _read_file_variable(found: RawSettings, name: str, file: str, info: SettingInfo) -> None:
    if not file.strip():
        found.problems.append(f"{name} is blank: give it the path of a file, or remove it")
        return
    if info.path in found.values:
        found.problems.append(f"{name} and {name[:-5]} are both set: set one of them")
        return
    text = found.read_secret(name, file)
    if text is not None:
        found.set_text(name, text, info, f"file {file} ({name})")


def _unknown(name: str, known: list[str]) -> str:
    path = tuple(part.lower() for part in name.upper().removeprefix(PREFIX).split("__"))
    if path in groups():
        inside = [info.variable for info in catalog() if info.path[: len(path)] == path]
        return f"{name} is a group of settings: set {inside[0]} and others one by one"
    return f"{name} is not a setting{suggestion(name, [*known, *OTHER_VARIABLES])}"
