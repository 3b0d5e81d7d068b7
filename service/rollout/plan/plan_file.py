"""A plan from a file, YAML or JSON; what is wrong with it is told by file and field."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from service.errors import Invalid
from service.rollout.plan.rollout_plan import RolloutPlan

MAX_BYTES = 64 * 1024
"""A hundred steps take a tenth of it."""


def load_plan(path: Path | None) -> RolloutPlan:
    """The plan in a file; None is the default one.

    Raises `Invalid` that names the file, the field and what is wrong with it.
    """
    if path is None:
        return RolloutPlan()
    try:
        return RolloutPlan.model_validate(_fields(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _wrong(
            path, f"{field}: {first['msg']}; docs/reference/rollout-plan.md has the fields"
        ) from error


def _fields(path: Path) -> dict[str, Any]:
    """What stands in the file, not yet held against what a plan may have."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(
            f"the plan {path} cannot be read ({error.strerror}); give a YAML or JSON file", "plan"
        ) from error
    if len(content) > MAX_BYTES:
        raise _wrong(path, f"it has over {MAX_BYTES} bytes; a plan is a few fields and steps")
    try:
        text = content.decode()
        # JSON apart: its tabs are no YAML.
        fields = (
            json.loads(text, object_pairs_hook=_once)
            if path.suffix == ".json"
            else yaml.load(text, _Loader)  # noqa: S506  derived from the safe loader
        )
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise _wrong(path, f"the file is no {kind}: {_said(error)}") from error
    if not isinstance(fields, dict):
        what = "empty" if fields is None else f"a {type(fields).__name__}"
        raise _wrong(path, f"the file is {what}; it must hold fields, for instance steps")
    return fields


class _Loader(yaml.SafeLoader):
    """YAML without code, in which a field given twice is an error: one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  the library's signature
        names = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if names.count(key.value) > 1:
                said = f"{key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
        return super().construct_mapping(node, deep)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
    return dict(pairs)


def _said(error: Exception) -> str:
    """The parser's words in one line, with line and column where it knows them."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"


def _wrong(path: Path, what: str) -> Invalid:
    return Invalid(f"the plan {path}: {what}", "plan")
