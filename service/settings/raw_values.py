"""Values that one source sets, not yet validated, and what is wrong with the source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.settings.catalog import FILE_SUFFIX, SettingInfo, is_secret_type

MAX_SECRET_BYTES = 64 * 1024
"""Bytes of a file with a secret; a larger one is not a secret."""


@dataclass(frozen=True)
class RawValue:
    """A value as its source has it, and the source, for messages."""

    value: Any
    source: str


@dataclass
class RawSettings:
    """What one source sets, by the path of the setting."""

    values: dict[tuple[str, ...], RawValue] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def set_text(self, name: str, text: str, info: SettingInfo, source: str) -> None:
        """Set a setting from text; lists and tables are JSON, or words between commas.

        `name` is what named the setting, for messages.
        """
        value: object = text
        if info.is_structured and info.item_model is None and text.lstrip()[:1] not in {"[", "{"}:
            value = [item.strip() for item in text.split(",")]
        elif info.is_structured:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                self.problems.append(f"{name}: a list or a table must be valid JSON")
                return
            value = self.resolve_files(name, info.item_model, value)
        self.values[info.path] = RawValue(value, source)

    def read_secret(self, name: str, file: object) -> str | None:
        """Return a secret's text from `file`; `name` is what named the file.

        White space around it is removed with a warning. An unreadable or blank file is a
        problem, and the result None.
        """
        path = Path(str(file))
        try:
            with path.open("rb") as opened:
                content = opened.read(MAX_SECRET_BYTES + 1)
            text = content.decode("utf-8-sig")
        except OSError as error:
            self.problems.append(f"{name}: cannot read {path}: {error.strerror}")
            return None
        except UnicodeDecodeError:
            self.problems.append(f"{name}: {path} is not UTF-8 text")
            return None
        if len(content) > MAX_SECRET_BYTES:
            self.problems.append(f"{name}: {path} has more than {MAX_SECRET_BYTES} bytes")
            return None
        trimmed = text.strip()
        if not trimmed:
            self.problems.append(f"{name}: {path} is blank")
            return None
        if trimmed != text:
            self.warnings.append(f"{name}: white space around the secret in {path} is ignored")
        return trimmed

    def resolve_files(self, name: str, model: type[BaseModel] | None, value: Any) -> Any:
        """Return `value`, a list of `model`'s items, with each `<secret>_file` read.

        `name` is the setting's, for messages.
        """
        if model is None or not isinstance(value, list):
            return value
        secrets = {
            each
            for each, info in model.model_fields.items()
            if any(
                map(is_secret_type, (info.annotation, *getattr(info.annotation, "__args__", ())))
            )
        }
        return [
            self._resolve_item(f"{name}[{index}]", secrets, item)
            if isinstance(item, Mapping)
            else item
            for index, item in enumerate(value)
        ]

    def _resolve_item(self, name: str, secrets: set[str], item: Mapping[str, Any]) -> Any:
        found = dict(item)
        for secret in secrets:
            file = found.pop(secret + FILE_SUFFIX, None)
            if file is None:
                continue
            if secret in found:
                self.problems.append(f"{name}: set either {secret} or {secret}{FILE_SUFFIX}")
                continue
            text = self.read_secret(f"{name}.{secret}{FILE_SUFFIX}", file)
            if text is not None:
                found[secret] = text
        return found
