"""`pytest --cpu-times` lists the files and the tests that took the most CPU time.

The time of a test includes its fixtures, and the processes that it started and waited for. Unlike
`--durations`, it hardly depends on what else the machine does.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

PROPERTY = "cpu_seconds"
SHOWN = 30


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


class CpuTimes:
    """A plugin: measures where tests run, and prints where the results come together."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()
        self._began = 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._began = cpu_seconds()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call) -> None:
        if call.when == "teardown":
            item.user_properties.append((PROPERTY, cpu_seconds() - self._began))

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "teardown":
            self.tests[report.nodeid] = dict(report.user_properties)[PROPERTY]

    def pytest_terminal_summary(self, terminalreporter) -> None:
        files: Counter[str] = Counter()
        for test, seconds in self.tests.items():
            files[test.split("::")[0]] += seconds
        terminalreporter.section(f"CPU time: {self.tests.total():.1f} s in {len(self.tests)} tests")
        for table in (files, self.tests):
            for name, seconds in table.most_common(SHOWN):
                terminalreporter.line(f"{seconds:8.2f} s  {name}")
            terminalreporter.line("")
