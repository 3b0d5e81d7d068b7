"""The reference page of the settings is generated from their descriptions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from service.commands.settings_reference import render, to_toml
from service.settings import Settings, WebhookSettings
from service.settings.access import AdminTokenSettings, ApiKeySettings
from service.settings.catalog import catalog
from service.settings.loader import load_settings, value_of
from tests.support.sources import ROOT

MODELS = (Settings, WebhookSettings, ApiKeySettings, AdminTokenSettings)
TOGETHER = {
    "issuer",
    "audience",
    "jwks_url",
    "certificate",
    "key",
    "prometheus_certificate",
    "prometheus_key",
}
"""Settings that are only valid with each other."""


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


def test_every_description_is_a_sentence():
    for name, field in (each for model in MODELS for each in fields(model)):
        assert field.description, name
        assert field.description[0].isupper() or field.description[0] == "`", name
        assert field.description.endswith("."), name


def test_every_quantity_has_its_unit():
    """A name that ends in seconds or bytes is explained in them."""
    for name, field in fields(Settings):
        unit = name.rsplit("_", 1)[-1]
        if unit in {"seconds", "bytes"}:
            assert unit in field.description.lower(), name


@pytest.mark.parametrize("info", catalog(), ids=lambda info: info.key)
def test_every_setting_has_an_example_that_is_valid(info, tmp_path, monkeypatch):
    """In the file as on the page; the example is not the same as no value at all."""
    monkeypatch.chdir(tmp_path)
    assert info.field.examples
    for example in info.field.examples:
        *above, name = info.path
        text = to_toml(example)
        if info.is_secret and isinstance(example, str) and example.startswith("/"):
            (tmp_path / "secret").write_text("a-secret-of-the-tests")
            name, text = f"{name}_file", to_toml(str(tmp_path / "secret"))
        table = f"[{'.'.join(above)}]\n" if above else ""
        if info.path[-1] in TOGETHER:
            others = [
                other
                for other in catalog()
                if other.path[:-1] == info.path[:-1] and {other.path[-1], name} <= TOGETHER
            ]
            table += "".join(
                f"{other.path[-1]} = {to_toml(other.field.examples[0])}\n"
                for other in others
                if other != info
            )
        file = tmp_path / "nextvec.toml"
        file.write_text(f"{table}{name} = {text}\n")
        assert value_of(load_settings({}, config=file).settings, info) is not None
