"""What all tests share: one thread a process, asyncio for async tests, strictness about tools."""

from __future__ import annotations

import gc
import os
import sys

import pytest
from hypothesis import settings

from tests.support import postgres_server
from tests.support.cpu_times import CpuTimes
from tests.support.tools import require

# The tests run in one process a core, so torch and NumPy take one thread each. They read
# these variables when they are imported, which is later than this file.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The duration of an example says more about the machine than about the code.
settings.register_profile("nextvec", deadline=None)
settings.register_profile("fast", settings.get_profile("nextvec"), max_examples=20)
settings.load_profile("nextvec")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server for the tests that leave it running. Each takes a fleet of its own."""
    require("postgres")
    with postgres_server.running() as server:
        yield server


END_TO_END = "tests/end_to_end/"


def pytest_collection_modifyitems(items):
    """Mark what starts real servers on real models. The files that take longest come first.

    Otherwise one process would run the last of them while the others have nothing left to do.
    """
    slow = set()
    for item in items:
        if item.nodeid.startswith(END_TO_END):
            item.add_marker("end_to_end")
        elif item.get_closest_marker("slow"):
            slow.add(item.path)
    items.sort(key=lambda item: (not item.nodeid.startswith(END_TO_END), item.path not in slow))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect garbage seldom, and leave out what was imported: a fifth of the time, otherwise."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 100)
    gc.enable()
    return found


@pytest.fixture(scope="module", autouse=True)
def _no_old_applications():
    """Let go of the applications of a module: FastAPI's caches keep the last thousand.

    Each holds some 5,000 objects, which every full collection of garbage visits.
    """
    yield
    for cached in vars(sys.modules.get("fastapi.dependencies.models", gc)).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def pytest_configure(config):
    if config.getoption("cpu_times"):
        config.pluginmanager.register(CpuTimes())


def pytest_addoption(parser):
    parser.addoption(
        "--cpu-times", action="store_true", help="List what took the most CPU time of the tests."
    )
    parser.addoption(
        "--strict-tools",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="Fail instead of skipping a test whose tool is not installed (default under CI=true).",
    )


def _fail_if_skipped(report, config):
    """Turn a skip into a failure under --strict-tools; the message is the skip's reason."""
    if config.getoption("strict_tools") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"--strict-tools: {report.nodeid} must run here. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _fail_if_skipped(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _fail_if_skipped(report, collector.config)
    return report
