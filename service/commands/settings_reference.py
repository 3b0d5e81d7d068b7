"""The reference page of all settings, `docs/reference/settings.md`.

python -m service.commands.settings_reference > docs/reference/settings.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.settings import Settings

_HEAD = """\
# Settings

`nextvec serve` reads these environment variables once, at start. An unknown name within a group is an error. The
options `--models`, `--stable`, `--canary`, `--host` and `--port` take precedence over the environment.

| variable | default | meaning |
|---|---|---|
"""  # noqa: E501  a page has longer lines


def render() -> str:
    """Return the page as Markdown, one row a setting in the order of their definition."""
    return _HEAD + "".join(_rows(Settings, "NEXTVEC_"))


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        variable, kind = f"{prefix}{name.upper()}", field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{variable}__")
        else:
            yield f"| `{variable}` | {_default(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    if field.default is None:
        return ""
    if isinstance(field.default, str | Path):
        return f"`{field.default}`"
    return f"`{json.dumps(field.default)}`"


if __name__ == "__main__":
    print(render(), end="")
