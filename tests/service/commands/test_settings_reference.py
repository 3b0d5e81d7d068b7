"""The reference page of the settings is generated from their descriptions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.commands.settings_reference import render
from service.settings import Settings, WebhookSettings
from tests.support.sources import ROOT


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind)
        else:
            yield f"{model.__name__}.{name}", field


def test_the_page_is_the_generated_one():
    """Otherwise run: python -m service.commands.settings_reference."""
    page = ROOT / "docs" / "reference" / "settings.md"
    assert render() == page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "field"), [*fields(Settings), *fields(WebhookSettings)])
def test_every_description_is_a_sentence(name, field):
    assert field.description, name
    assert field.description[0].isupper() or field.description[0] == "`", name
    assert field.description.endswith("."), name


@pytest.mark.parametrize(("name", "field"), [*fields(Settings)])
def test_every_quantity_has_its_unit(name, field):
    """A name that ends in seconds or bytes is explained in them."""
    unit = name.rsplit("_", 1)[-1]
    if unit in {"seconds", "bytes"}:
        assert unit in field.description.lower(), name
