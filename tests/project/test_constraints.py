"""The locks: every installed package is pinned with hashes, at the version that is installed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions

import pytest

from deploy.supply_chain.direct_requirements import direct_requirements
from deploy.supply_chain.markers import MACHINES, entries, entries_for
from tests.support.sources import ROOT

CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
TORCH_CPU = (ROOT / "requirements" / "torch-cpu.txt").read_text(encoding="utf-8")
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text("utf-8"))["project"]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
OWN = {"nextvec", "nextvec-client", "pip", "setuptools", "wheel"}
"""This project, its client, and what requirements/build.lock brings."""

each_lock = pytest.mark.parametrize(
    "lock", [ROOT / "constraints.txt", *LOCKS], ids=lambda lock: lock.name
)


def canonical(name: str) -> str:
    """PEP 503: `Typing_Extensions` → `typing-extensions`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """The version of each package of a lock's text."""
    return {
        canonical(entry.requirement.name): str(entry.requirement.specifier).removeprefix("==")
        for entry in entries(lock)
    }


def test_every_installed_package_is_pinned_at_its_version():
    """A local version, `2.13.0+cpu`, is that of the pin `2.13.0`."""
    installed = {
        canonical(found.metadata["Name"]): found.version.partition("+")[0]
        for found in distributions()
    }
    unpinned = {name: version for name, version in installed.items() if name not in OWN}
    pinned = pins(CONSTRAINTS)
    assert {} == {
        name: version for name, version in unpinned.items() if pinned.get(name) != version
    }


def test_everything_that_pyproject_requires_is_pinned_at_a_version_that_it_allows():
    """After a change of pyproject.toml: `make lock`."""
    extras = list(PROJECT["optional-dependencies"])
    pinned = pins(CONSTRAINTS)
    required = [
        entry.requirement for entry in entries("\n".join(direct_requirements(PROJECT, extras)))
    ]
    assert [] == [
        str(requirement)
        for requirement in required
        if not requirement.specifier.contains(pinned.get(canonical(requirement.name), "0.dev0"))
    ]


def test_what_the_client_requires_is_required_by_the_service_too():
    """`make setup` installs the client without its dependencies, which the service brings."""
    ours = {entry.requirement.name for entry in entries("\n".join(PROJECT["dependencies"]))}
    theirs = {entry.requirement.name for entry in entries("\n".join(CLIENT["dependencies"]))}
    assert {"httpx", "numpy"} == theirs
    assert theirs <= ours


@each_lock
def test_every_pin_has_hashes(lock):
    """pip refuses a lock of which one entry has none. `make lock` adds them."""
    for entry in entries(lock.read_text(encoding="utf-8")):
        assert HASH.search(entry.text), entry.requirement
        assert ["=="] == [specifier.operator for specifier in entry.requirement.specifier]


@each_lock
def test_a_lock_is_sorted(lock):
    names = [canonical(entry.requirement.name) for entry in entries(lock.read_text("utf-8"))]
    assert sorted(names) == names


def test_the_build_of_torch_without_cuda_is_of_the_pinned_version():
    pin = re.search(r"^torch==([\d.]+)\+cpu --hash=sha256:[0-9a-f]{64}$", TORCH_CPU, re.MULTILINE)
    assert pin[1] == pins(CONSTRAINTS)["torch"]


@pytest.mark.parametrize("lock", ["image.lock", "image-cuda.lock", "demo.lock"])
def test_the_image_has_the_versions_that_the_tests_ran_with(lock):
    image = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    assert pins(image).items() <= pins(CONSTRAINTS).items()
    assert set(HASH.findall(image)) <= set(HASH.findall(CONSTRAINTS))


@pytest.mark.parametrize("platform", MACHINES)
def test_the_demo_has_what_it_needs_and_neither_pytorch_nor_cuda(platform):
    lock = (ROOT / "requirements" / "demo.lock").read_text(encoding="utf-8")
    installed = {canonical(entry.requirement.name) for entry in entries_for(lock, platform)}
    needed = direct_requirements(PROJECT, ["export", "loadtest"])
    required = {
        canonical(entry.requirement.name) for entry in entries_for("\n".join(needed), platform)
    }
    assert required - {"onnxruntime-gpu"} <= installed
    assert "onnxruntime" in installed
    assert not {"torch", "onnxruntime-gpu", "pytest"} & installed


@pytest.mark.parametrize("platform", MACHINES)
def test_the_image_holds_what_serving_requires_and_nothing_of_training(platform):
    image = (ROOT / "requirements" / "image.lock").read_text(encoding="utf-8")
    installed = {canonical(entry.requirement.name) for entry in entries_for(image, platform)}
    runtime = {"onnxruntime-gpu" if platform == "linux/amd64" else "onnxruntime"}
    assert runtime == {name for name in installed if name.startswith("onnxruntime")}
    assert {"fastapi", "uvicorn", "numpy"} <= installed
    assert not {"torch", "transformers", "pytest", "matplotlib"} & installed
