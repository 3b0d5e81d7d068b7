"""Which packages of a lock are installed on one platform."""

from __future__ import annotations

from typing import NamedTuple

from packaging.requirements import Requirement

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The image's platforms, in Docker's words, and what Python calls their processors."""


class LockEntry(NamedTuple):
    """One package of a lock: its requirement with a marker, and the text with its hashes."""

    requirement: Requirement
    text: str


def entries(lock: str) -> list[LockEntry]:
    """The packages of a lock's text, in its order."""
    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    blocks: list[list[str]] = []
    for line in lines:
        if line[0].isspace():
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return [
        LockEntry(Requirement(block[0].removesuffix("\\").strip()), "\n".join(block))
        for block in blocks
    ]


def entries_for(lock: str, platform: str, python: str = "3.11") -> list[LockEntry]:
    """The packages of a lock that CPython installs on `platform`, a key of `MACHINES`."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": MACHINES[platform],
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    return [
        entry
        for entry in entries(lock)
        if entry.requirement.marker is None or entry.requirement.marker.evaluate(environment)
    ]
