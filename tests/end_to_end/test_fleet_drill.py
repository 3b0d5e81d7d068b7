"""Real fleets: the drill passes on a right one, fails on a broken store, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from loadtest import streams
from loadtest.fleet import stores
from loadtest.fleet.drill.faults import Fault, FaultKind
from loadtest.fleet.drill.oracle import Oracle
from loadtest.fleet.drill.report import Promises, make_report
from loadtest.fleet.drill.run import DrillOptions, run_drill
from loadtest.fleet.fleet import FleetOptions, running_fleet
from loadtest.fleet.layout import FleetPorts
from loadtest.fleet.process import FleetError
from loadtest.fleet.versions import MODEL
from service.clock import SystemClock
from service.redis.library import load_library
from tests.support.serving import NEXTVEC, WINDOWS
from tests.support.tools import need, tool_path


@pytest.fixture(autouse=True)
def removed_data(tmp_path):
    """PostgreSQL's cluster may be outside of the test's folder."""
    yield
    for folder in (tmp_path, tmp_path / "fleet"):
        stores.remove_data(folder)


pytestmark = need("envoy", "redis-server", "postgres")

KILL = Fault(FaultKind.KILL, quiet=1.0, hold=0.2, replica=0)
OPTIONS = DrillOptions(
    seconds=3, sessions=6, rate=40.0, length=min(WINDOWS.values()), versions=None
)


def break_store(fleet):
    """Acknowledge every third append without its vector. Only a takeover shows it."""
    code = load_library().code
    push = "redis.call('RPUSH', keys[2]"
    assert 1 == code.count(push)
    client = [tool_path("redis-cli"), "-p", str(fleet.ports.redis), "--no-auth-warning"]
    subprocess.run(
        [*client, "-a", fleet.secrets.redis, "-x", "FUNCTION", "LOAD", "REPLACE"],
        input=code.replace(push, f"local _ = n % 3 ~= 2 and {push}"),
        text=True,
        check=True,
        capture_output=True,
    )


async def test_a_kill_loses_nothing_and_a_broken_store_is_caught(models, tmp_path):
    """The same drill on the same fleet, before and after its Redis functions drop vectors."""
    data = streams.load()
    oracle = Oracle.of_repository(models, MODEL, WINDOWS, data)
    options = FleetOptions(
        models=models,
        stable="phase-2",
        canary=None,
        replicas=2,
        durability="sync",
        when_store_down="refuse",
        prometheus=False,
        show_replica=True,
        settings={"NEXTVEC_ENGINE__PRECISION": "fp32"},
    )

    async def drilled(fleet):
        ran = await run_drill(fleet, [KILL], data, oracle, OPTIONS, SystemClock())
        return make_report(*ran, Promises("sync", "refuse"))

    with running_fleet(tmp_path / "fleet", FleetPorts.free(2), options) as fleet:
        await fleet.start()
        right = await drilled(fleet)
        assert () == right.problems
        assert right.appends > 50
        assert right.takeovers > 0
        break_store(fleet)
        broken = await drilled(fleet)
    assert broken.problems
    assert broken.wrong + broken.lost + broken.lost_silently > 0


class UpCommand:
    """`nextvec fleet up` as a process."""

    def __init__(self, models, folder, port):
        self.url = f"http://127.0.0.1:{port}"
        command = [NEXTVEC, "fleet", "up", "--replicas", "1", "--port", str(port)]
        command += ["--folder", folder, "--models", models, "--checkpoints", folder / "none"]
        self.process = subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = ""
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line

    def close(self):
        self.process.wait(timeout=20)
        self.process.stdout.close()

    def append(self, position):
        """Append until the only replica is there."""
        vector = streams.load().read(0, position, 1)
        deadline = time.monotonic() + 60
        while True:
            answer = httpx.post(
                f"{self.url}/v1/sessions/kept/vectors?position={position}",
                content=vector.tobytes(),
                headers={"Content-Type": "application/octet-stream"},
                timeout=20,
            )
            if answer.status_code == 200:
                return answer.json()["length"]
            assert 503 == answer.status_code, answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)


def first_of_free_ports():
    while True:
        ports = FleetPorts.fixed(FleetPorts.free(1).balancer, 1)
        with contextlib.suppress(FleetError):
            ports.check_free()
            return ports.balancer


def descendants(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from descendants(child)


def wait_until_gone(pids, seconds=20):
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}/cmdline").exists() and is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid):
    with contextlib.suppress(OSError):
        return "Z" != Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_fleet_leaves_nothing_and_continues_at_the_next_start(models, tmp_path):
    """kill -9 of the launcher takes all with it; a session goes on after the next start."""
    port = first_of_free_ports()
    first = UpCommand(models, tmp_path, port)
    assert "secrets.json" in first.said
    assert 1 == first.append(0)
    parts = list(descendants(first.process.pid))
    assert len(parts) >= 5
    replica = next(
        pid for pid in parts if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(replica, signal.SIGKILL)
    while "replica-" not in (line := first.process.stdout.readline()):
        assert line
    assert 2 == first.append(1)
    parts = list(descendants(first.process.pid))
    first.process.kill()
    wait_until_gone(parts)
    first.close()

    second = UpCommand(models, tmp_path, port)
    assert 3 == second.append(2)
    parts = list(descendants(second.process.pid))
    second.process.send_signal(signal.SIGINT)
    assert 0 == second.process.wait(timeout=60)
    wait_until_gone(parts)
    second.close()
