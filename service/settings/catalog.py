"""Every setting by its key in the file and by its variable."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from service.settings.groups import Settings
from service.settings.urls import ServiceUrl
from service.suggestions import nearest_name

PREFIX = "NEXTVEC_"
FILE_SUFFIX = "_file"


@dataclass(frozen=True)
class SettingInfo:
    """One setting: its place in the tree and its field."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def key(self) -> str:
        """`engine.device`: its key in the file."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """`NEXTVEC_ENGINE__DEVICE`: its environment variable."""
        return PREFIX + "__".join(self.path).upper()

    @property
    def is_secret(self) -> bool:
        """Whether the value, or a part of it, must not be shown."""
        return any(is_secret_type(kind) for kind in _types(self.field.annotation))

    @property
    def is_structured(self) -> bool:
        """Whether a variable holds it as JSON: a list or a table."""
        return any(get_origin(kind) in {tuple, dict} for kind in _members(self.field.annotation))

    @property
    def may_be_blank(self) -> bool:
        """Whether blank text is a value of its own."""
        extra = self.field.json_schema_extra
        return isinstance(extra, dict) and bool(extra.get("may_be_blank"))

    @property
    def item_model(self) -> type[BaseModel] | None:
        """The model of the items, for a list of tables."""
        return next(
            (
                kind
                for kind in _types(self.field.annotation)
                if isinstance(kind, type) and issubclass(kind, BaseModel)
            ),
            None,
        )


@cache
def catalog() -> tuple[SettingInfo, ...]:
    """Every setting, in the order of definition."""
    return tuple(_walk(Settings, ()))


@cache
def groups() -> dict[tuple[str, ...], type[BaseModel]]:
    """The model of each group by its path; that of `()` is the whole tree."""
    return dict(_groups(Settings, ()))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or nothing."""
    found = nearest_name(name, list(known))
    return "" if found is None else f"; did you mean {found}?"


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[SettingInfo]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, (*path, name))
        else:
            yield SettingInfo((*path, name), field)


def _groups(
    model: type[BaseModel], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _groups(kind, (*path, name))


def is_secret_type(kind: Any) -> bool:
    """Whether values of this type are secrets, or may hold one."""
    return isinstance(kind, type) and issubclass(kind, SecretStr | ServiceUrl)


def _members(kind: Any) -> Iterator[Any]:
    """The alternatives of a union, or the type itself."""
    if get_origin(kind) in {Union, types.UnionType}:
        for member in get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _types(kind: Any) -> Iterator[Any]:
    """Every type within an annotation, also those of the fields of its models."""
    yield kind
    for inner in get_args(kind):
        yield from _types(inner)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for field in kind.model_fields.values():
            yield from _types(field.annotation)
