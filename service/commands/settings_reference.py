"""The reference page of all settings, `docs/reference/settings.md`.

python -m service.commands.settings_reference > docs/reference/settings.md
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from service.settings.catalog import SettingInfo, catalog, groups

_HEAD = """\
# Settings

`nextvec serve` reads its settings once, at start, from these sources. A later one wins:

1. the defaults on this page
2. a TOML file: `--config FILE`, else the variable `NEXTVEC_CONFIG`, else `nextvec.toml` in the working directory
3. environment variables
4. the options `--models`, `--stable`, `--canary`, `--host`, `--port` and `--http-workers`

```toml
# nextvec.toml
stable = "phase-2"
canary = "phase-3"

[engine]
device = "cpu"

[admin]
approver_token_file = "/run/secrets/approver-token"
```

`nextvec config check` names every fault of the configuration and exits with 1 if there is one. `nextvec config show`
prints every setting with its value and its source; secrets are hidden.

- **Names.** A variable is `NEXTVEC_`, the group and the name, with two underscores between them: `engine.device` is
  `NEXTVEC_ENGINE__DEVICE`. An unknown variable that begins with `NEXTVEC_`, and an unknown key of the file, are
  errors that name the nearest known one.
- **Blank values.** A blank variable counts as unset, with a warning in the log. A blank secret and a blank value in the
  file are errors.
- **Units.** Durations are in seconds and sizes in bytes, as plain numbers: `2.5`, not `2.5s`.
- **Lists and tables.** In a variable they are JSON. A list of words may also be written with commas.
- **Secrets.** Every secret can be read from a file: add `_FILE` to the variable, or `_file` to the
  key. White space around the secret is removed with a warning. A token or a key has 16 to 4096 visible ASCII
  characters; `openssl rand -hex 16` makes one.
- **Paths.** Relative paths start at the working directory, also those in the file.
- **Kubernetes.** For a Service called `nextvec`, Kubernetes sets variables such as `NEXTVEC_PORT=tcp://10.0.0.1:8080`
  in every pod. They are ignored with a warning. `enableServiceLinks: false` in the pod's specification leaves them out.
"""  # noqa: E501  a page has longer lines


def render() -> str:
    """Return the page as Markdown, one section a group in the order of their definition."""
    return _HEAD + "".join(_section(path, model) for path, model in groups().items())


def _section(path: tuple[str, ...], model: type[BaseModel]) -> str:
    inside = [info for info in catalog() if info.path[:-1] == path]
    if not inside:
        return ""
    if not path:
        title, summary = "Top level", "Settings outside a group. They come first in the file."
    else:
        title, summary = f"`{'.'.join(path)}`", inspect.cleandoc(model.__doc__ or "")
    return f"\n## {title}\n\n{summary}\n" + "".join(map(_entry, inside))


def _entry(info: SettingInfo) -> str:
    lines = [f"\n### `{info.key}`\n", f"{info.field.description}\n"]
    lines += [f"- {fact}" for fact in _facts(info)]
    item = info.item_model
    if item is not None:
        lines += ["", "| field | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_default(field.get_default(call_default_factory=True))} "
            f"| {field.description} |"
            if not field.is_required()
            else f"| `{name}` | required | {field.description} |"
            for name, field in item.model_fields.items()
        ]
    return "\n".join(lines) + "\n"


def _facts(info: SettingInfo) -> Iterator[str]:
    yield f"Variable: `{info.variable}`"
    if info.is_secret:
        yield f"Secret: also from a file, with `{info.variable}_FILE` or `{info.path[-1]}_file`"
    default = _default(info.field.default)
    yield f"Default: {default or 'none'}"
    allowed = _allowed(info)
    if allowed:
        yield f"Values: {allowed}"
    for example in info.field.examples or ():
        secret_path = info.is_secret and isinstance(example, str) and example.startswith("/")
        key = info.path[-1] + ("_file" if secret_path else "")
        yield f"Example: `{key} = {to_toml(example)}`"


def _allowed(info: SettingInfo) -> str:
    kind = info.field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    bounds = {}
    for part in info.field.metadata:
        for name in ("gt", "ge", "lt", "le"):
            if getattr(part, name, None) is not None:
                bounds[name] = getattr(part, name)
    low = f"above {_number(bounds['gt'])}" if "gt" in bounds else ""
    if not low and "ge" in bounds:
        low = f"at least {_number(bounds['ge'])}"
    high = f"at most {_number(bounds['le'])}" if "le" in bounds else ""
    return ", ".join(filter(None, (low, high)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, str | Path):
        return f"`{value}`"
    return f"`{json.dumps(value)}`"


def to_toml(value: Any) -> str:
    """Return a value as TOML writes it in one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {to_toml(each)}" for name, each in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, str) and '"' in value:
        return f"'{value}'"
    return json.dumps(value)


if __name__ == "__main__":
    print(render(), end="")
