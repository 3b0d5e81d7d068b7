"""Every package is shipped, typed and covered by the rules of imports."""

from __future__ import annotations

import ast
import sys
import tomllib
from fnmatch import fnmatch

import pytest

from tests.support.sources import CLIENT, ROOT, modules, packages, text

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


def test_the_tools_know_the_client():
    assert "nextvec" in TOOLS["importlinter"]["root_packages"]
    assert str(CLIENT) in TOOLS["mypy"]["files"]
    assert (ROOT / CLIENT / "py.typed").is_file()


def test_the_client_imports_httpx_and_numpy_and_nothing_else():
    """It is installed where neither the service nor its dependencies are."""
    found = set()
    for module in modules():
        if CLIENT in module.parents:
            for node in ast.walk(ast.parse(text(module))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add(node.module.partition(".")[0])
    assert {"httpx", "numpy"} == found - set(sys.stdlib_module_names) - {"nextvec"}


def test_the_client_and_the_service_have_one_version():
    """They are released together."""
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text("utf-8"))["project"]
    service = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    constant = text(CLIENT / "version.py")
    assert service["version"] == client["version"]
    assert f'__version__ = "{client["version"]}"' in constant
