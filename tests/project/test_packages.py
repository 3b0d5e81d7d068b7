"""Every package is shipped, typed and covered by the rules of imports."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch

import pytest

from tests.support.sources import ROOT, packages

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
NOT_SHIPPED = {"deploy"}
"""The generator of the dashboard serves this repository alone."""

CONTRACTS = TOOLS["importlinter"]["contracts"]


@pytest.mark.parametrize("package", packages())
def test_the_tools_know_it(package):
    assert package in TOOLS["importlinter"]["root_packages"]
    assert package in TOOLS["mypy"]["files"]
    included = TOOLS["setuptools"]["packages"]["find"]["include"]
    assert any(fnmatch(package, pattern) for pattern in included) or package in NOT_SHIPPED


def test_the_layers_hold_all_packages():
    """The first contract orders the packages, the second all modules of the service."""
    first, second, *_ = CONTRACTS
    layered = {name.strip() for layer in first["layers"] for name in layer.split("|")}
    assert set(packages()) == layered
    assert ("layers", ["service"], True) == (
        second["type"],
        second["containers"],
        second["exhaustive"],
    )


def test_mypy_is_strict():
    assert TOOLS["mypy"]["strict"] is True
