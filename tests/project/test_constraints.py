"""constraints.txt: every installed package is pinned, at the version that is installed."""

from __future__ import annotations

import re
from importlib.metadata import distributions

from tests.support.sources import ROOT

LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
OWN = {"nextvec", "pip", "setuptools", "wheel"}
"""This project, and what a new virtual environment has or a build brings."""


def canonical(name: str) -> str:
    """PEP 503: `Typing_Extensions` → `typing-extensions`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """The version of each package of constraints.txt."""
    parts = [line.split(";")[0].split("==") for line in LINES if line and line[0] != "#"]
    return {canonical(name): version.strip() for name, version in parts}


def test_every_installed_package_is_pinned_at_its_version():
    """A local version, `2.13.0+cpu`, is that of the pin `2.13.0`."""
    installed = {
        canonical(found.metadata["Name"]): found.version.partition("+")[0]
        for found in distributions()
    }
    unpinned = {name: version for name, version in installed.items() if name not in OWN}
    assert {} == {
        name: version for name, version in unpinned.items() if pins().get(name) != version
    }


def test_constraints_are_sorted_and_named_once():
    names = [canonical(line.split("==")[0]) for line in LINES if line and line[0] != "#"]
    assert sorted(set(names)) == names
