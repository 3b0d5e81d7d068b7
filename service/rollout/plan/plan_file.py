"""Reads a plan from a YAML or JSON file. Errors name the file and the field."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from service.errors import Invalid
from service.rollout.plan.rollout_plan import RolloutPlan
from service.suggestions import validation_message

MAX_BYTES = 64 * 1024
"""Ten times the size of a plan with a hundred steps."""

_SHOWN_FAULTS = 5


def load_plan(path: Path | None) -> RolloutPlan:
    """The plan in a file, or the default plan for None.

    Raises `Invalid` that names the file and, for each of the first faults, the field and what is
    wrong with it.
    """
    if path is None:
        return RolloutPlan()
    try:
        return RolloutPlan.model_validate(_fields(path))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A list whose items are all at fault also counts as empty.
        paths = [each["loc"] for each in errors]
        inner = [e for e in errors if not any(p[:-1][: len(e["loc"])] == e["loc"] for p in paths)]
        faults = [
            f"{'.'.join(str(part) for part in each['loc']) or 'the file'}: "
            f"{validation_message(dict(each), RolloutPlan)}"
            for each in inner[:_SHOWN_FAULTS]
        ]
        raise _error(
            path, f"{'; '.join(faults)} (docs/reference/rollout-plan.md has the fields)"
        ) from error


def _fields(path: Path) -> dict[str, Any]:
    """The fields of the file, not yet validated."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(
            f"cannot read the plan {path} ({error.strerror}); give a YAML or JSON file", "plan"
        ) from error
    if len(content) > MAX_BYTES:
        raise _error(path, f"the file has more than {MAX_BYTES} bytes, too many for a plan")
    try:
        text = content.decode()
        # A JSON file may have tabs, which YAML does not allow.
        fields = (
            json.loads(text, object_pairs_hook=_reject_repeats)
            if path.suffix == ".json"
            else yaml.load(text, _StrictYamlLoader)  # noqa: S506  derived from the safe loader
        )
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise _error(path, f"the file is not valid {kind}: {_parser_message(error)}") from error
    if not isinstance(fields, dict):
        what = "empty" if fields is None else f"a {type(fields).__name__}"
        raise _error(path, f"the file is {what}; it must have fields, for example steps")
    return fields


class _StrictYamlLoader(yaml.SafeLoader):
    """Safe YAML without its traps.

    A repeated field is an error, because one of the two would be lost. So is a number that YAML
    reads in another base: `010` is 8 and `1:30` is 90.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  the library's signature
        names = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if names.count(key.value) > 1:
                message = f"{key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """The number, if it is written in decimal digits."""
        text = node.value.replace("_", "").lower()
        if node.tag.endswith(":int"):
            read: int | float = self.construct_yaml_int(node)
            if text.lstrip("+-") == str(abs(read)):
                return read
        else:
            read = self.construct_yaml_float(node)
            if ":" not in text:
                return read
        message = f"YAML reads {node.value} as {read}; write the number in decimal digits"
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)


for _tag in ("int", "float"):
    _StrictYamlLoader.add_constructor(
        f"tag:yaml.org,2002:{_tag}", _StrictYamlLoader.construct_number
    )


def _reject_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
    return dict(pairs)


def _parser_message(error: Exception) -> str:
    """The parser's message in one line, with line and column if it knows them."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"


def _error(path: Path, what: str) -> Invalid:
    return Invalid(f"the plan {path}: {what}", "plan")
