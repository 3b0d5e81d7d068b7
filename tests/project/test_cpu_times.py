"""The option `--cpu-times` of these tests."""

from __future__ import annotations

from types import SimpleNamespace

from tests.support.cpu_times import PROPERTY, CpuTimes


class LineReporter:
    """Keeps what a plugin prints."""

    def __init__(self):
        self.lines = []

    def section(self, title):
        self.lines.append(title)

    def line(self, text):
        self.lines.append(text)


def ran(test, seconds, when="teardown"):
    return SimpleNamespace(nodeid=test, when=when, user_properties=[(PROPERTY, seconds)])


def test_files_and_tests_are_listed_by_their_time():
    """A test is reported after its set-up, its call and its tear-down, and counts once."""
    times, reporter = CpuTimes(), LineReporter()
    for report in (
        ran("tests/a.py::one", 1.0, "call"),
        ran("tests/a.py::one", 1.0),
        ran("tests/a.py::two[x::y]", 2.0),
        ran("tests/b.py::one", 2.5),
    ):
        times.pytest_runtest_logreport(report)
    times.pytest_terminal_summary(reporter)
    assert [
        "CPU time: 5.5 s in 3 tests",
        "    3.00 s  tests/a.py",
        "    2.50 s  tests/b.py",
        "",
        "    2.50 s  tests/b.py::one",
        "    2.00 s  tests/a.py::two[x::y]",
        "    1.00 s  tests/a.py::one",
        "",
    ] == reporter.lines


def test_the_time_of_a_test_is_kept_with_its_report():
    times, item = CpuTimes(), SimpleNamespace(user_properties=[])
    times.pytest_runtest_logstart()
    sum(range(10**6))
    for when in ("setup", "call", "teardown"):
        times.pytest_runtest_makereport(item, SimpleNamespace(when=when))
    ((name, seconds),) = item.user_properties
    assert PROPERTY == name
    assert seconds > 0
