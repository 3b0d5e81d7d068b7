"""Programs and packages that some tests need and a machine may lack."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.support.sources import ROOT

PACKAGES = {
    "prometheus": "apt-get install -y --no-install-recommends prometheus",
    "promtool": "apt-get install -y --no-install-recommends prometheus",
    "chromium": "apt-get install -y --no-install-recommends chromium",
    "axe_playwright_python": "pip install -c constraints.txt axe-playwright-python",
    "envoy": "make fleet-tools",
    "helm": "make fleet-tools",
    "kubernetes-validate": "make fleet-tools",
    "haproxy": "apt-get install -y --no-install-recommends haproxy",
    "redis-server": "apt-get install -y --no-install-recommends redis-server",
    "postgres": "apt-get install -y --no-install-recommends postgresql",
    "playwright": "pip install -c constraints.txt playwright",
    "mkdocs": "make docs",
}
"""Each tool and the command that installs it."""


FLEET_TOOLS = ROOT / ".venv-fleet" / "bin"
"""What `make fleet-tools` installs."""

PLACES = {"postgres": ("/usr/lib/postgresql", "*/bin/postgres")}
"""The folder and pattern of a program that its package does not put on the path."""


def tool_path(tool: str) -> str | None:
    """The path of a program; None if it is not installed."""
    if tool in PLACES:
        folder, pattern = PLACES[tool]
        return max(map(str, Path(folder).glob(pattern)), default=None)
    return shutil.which(tool) or shutil.which(tool, path=str(FLEET_TOOLS))


def installed(tool: str) -> bool:
    """Whether `tool` is on the path, or is an importable package."""
    return bool(tool_path(tool) or importlib.util.find_spec(tool))


def need(*tools: str) -> pytest.MarkDecorator:
    """Skip the marked test unless all `tools` are installed; --strict-tools makes it fail."""
    missing = [tool for tool in tools if not installed(tool)]
    reason = "; ".join(f"{tool} is not installed: {PACKAGES[tool]}" for tool in missing)
    return pytest.mark.skipif(bool(missing), reason=reason)


def require(*tools: str) -> None:
    """As `need`, from inside a fixture."""
    for tool in tools:
        if not installed(tool):
            pytest.skip(f"{tool} is not installed: {PACKAGES[tool]}")
