"""A process of a fleet: it starts, ends as asked, and does not outlive its launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.fleet.process import FleetError, FleetProcess


def python(code, tmp_path, **more):
    return FleetProcess("part", [sys.executable, "-c", code], tmp_path / "part.log", **more)


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_its_end_before_it_is_ready_is_an_error_with_its_log(tmp_path):
    process = python("print('no port'); raise SystemExit(3)", tmp_path)
    process.start()

    async def never():
        return False

    with pytest.raises(FleetError, match=r"(?s)ended with status 3.*no port"):
        await process.wait_until(never, 20)


def test_a_program_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FleetError, match="cannot be started"):
        FleetProcess("part", [tmp_path / "nothing"], tmp_path / "log").start()


def test_a_process_that_ignores_the_signal_is_killed(tmp_path):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); "
    code += "print('on', flush=True); time.sleep(99)"
    process = python(code, tmp_path, stop_seconds=0.2)
    process.start()
    wait_for(lambda: "on" in process.read_tail())
    assert -signal.SIGKILL == process.stop()
    assert not process.is_running


def test_a_stopped_process_is_woken_to_end(tmp_path):
    process = python("import time; time.sleep(99)", tmp_path)
    process.start()
    process.suspend()
    assert -signal.SIGTERM == process.stop()


def test_a_kill_takes_its_children_too(tmp_path):
    code = "import subprocess; child = subprocess.Popen(['sleep', '99']); "
    code += "print(child.pid, flush=True); child.wait()"
    process = python(code, tmp_path)
    process.start()
    wait_for(process.read_tail)
    child = int(process.read_tail())
    process.kill()
    wait_for(lambda: not is_alive(child))


def test_its_environment_has_no_settings_of_another_server(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTVEC_PORT", "1")
    code = "import os; print(sorted(name for name in os.environ if name.startswith('NEXTVEC')))"
    process = python(code, tmp_path, environment={"NEXTVEC_HOST": "h"})
    process.start()
    process.process.wait()
    assert "['NEXTVEC_HOST']" == process.read_tail()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_it_does_not_outlive_a_killed_launcher(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; "
        "from loadtest.fleet.process import FleetProcess; "
        "p = FleetProcess('p', ['sleep', '99'], Path(sys.argv[1]) / 'log'); p.start(); "
        "print(p.pid, flush=True); time.sleep(99)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as launcher:
        child = int(launcher.stdout.readline())
        assert is_alive(child)
        os.kill(launcher.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(child))
