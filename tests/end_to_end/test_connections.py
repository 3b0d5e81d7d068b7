"""Connections of the real server: how long they live, how many there may be, and their drain."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.fakes import unit_vectors
from tests.support.serving import NEXTVEC, serving
from tests.support.wire import Wire

READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n"


def get(server, path=b"/v2/health/ready"):
    """The status of a request on a new connection."""
    with closing(Wire(server)) as wire:
        wire.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path)
        answer = wire.answer()
        if answer is None:  # accepted in the moment in which the listener closed
            raise ConnectionResetError("closed without an answer")
        return answer[0]


def test_an_idle_connection_outlives_the_old_limit(models, tmp_path):
    """It is closed after the configured time, and not before."""
    with (
        serving(models, tmp_path, NEXTVEC_HTTP__KEEP_ALIVE_SECONDS="4") as running,
        closing(Wire(running)) as fast,
        closing(Wire(running)) as slow,
    ):
        both = {b"/v2/health/ready": fast, b"/v2": slow}
        for pause in (0, 1.0):  # far from 4: the machine may be busy
            time.sleep(pause)
            for path, wire in both.items():
                wire.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path)
                assert wire.answer()[0] == 200
        assert [None, None] == [wire.answer() for wire in both.values()]


def test_slow_heads_do_not_exhaust_descriptors(models, tmp_path):
    """With 256 descriptors, 500 slow heads and bodies: new connections are served."""
    limited = ("bash", "-c", 'ulimit -n 256; exec "$0" "$@"', NEXTVEC, "serve")
    with serving(models, tmp_path, launcher=limited) as running:
        wires = [Wire(running) for _ in range(500)]
        for number, wire in enumerate(wires):
            head = b"POST /v1/predict HTTP/1.1\r\nHost: h\r\nContent-Length: 3072\r\n\r\n1"
            wire.send(head[:20] if number % 2 else head)
        assert [get(running) for _ in range(20)] == [200] * 20
        running.predict(unit_vectors(1, dim=768))
        for wire in wires:
            wire.close()
        assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_drain_is_visible_before_the_listener_closes(models, tmp_path, number):
    """Readiness fails at once, requests are served meanwhile, and then the process ends."""
    with serving(models, tmp_path, NEXTVEC_HTTP__DRAIN_SECONDS="3") as running:
        running.process.send_signal(number)
        deadline = time.monotonic() + 2
        while get(running) == 200:
            assert time.monotonic() < deadline
        assert get(running, b"/v2/health/live") == 200
        running.predict(unit_vectors(1, dim=768))
        assert running.process.poll() is None
        assert running.process.wait(timeout=30) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain(models, tmp_path, second):
    with serving(models, tmp_path, NEXTVEC_HTTP__DRAIN_SECONDS="300") as running:
        running.process.terminate()
        while get(running) == 200:
            pass
        running.process.send_signal(second)
        assert running.process.wait(timeout=30) == 0


def test_readiness_is_503_on_new_connections_until_the_listener_closes(models, tmp_path):
    """What a load balancer's probe sees: 200, then 503 while callers are served, then refused."""
    with serving(models, tmp_path, NEXTVEC_HTTP__DRAIN_SECONDS="2") as running:
        seen = [get(running)]
        running.process.terminate()
        with suppress(OSError):  # refused, or reset
            while True:
                seen.append(get(running))
        assert seen == sorted(seen, key=[200, 503].index)
        assert {200, 503} == set(seen)
        assert running.process.wait(timeout=30) == 0


AS_PROCESS_1 = ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.mark.parametrize("moment", ["imports", "load"])
@pytest.mark.parametrize("process_1", [False, True], ids=["child", "process 1"])
def test_sigterm_during_the_start_ends_it(models, tmp_path, process_1, moment):
    """As process 1 of a container, the kernel drops signals without a handler."""
    if process_1 and (not shutil.which("unshare") or os.geteuid() != 0):
        pytest.skip("needs root and unshare to be process 1")
    if moment == "load":
        models = shutil.copytree(models, tmp_path / "models")
        graph = models / "next-vector" / "phase-2" / "model.onnx"
        os.truncate(graph, 2**37)  # its digest takes minutes
    seen = "import sys; sys.argv = ['nextvec', 'serve'] + sys.argv[1:]; "
    seen += "import service.cli as cli; print('handler', flush=True); sys.exit(cli.main())"
    process = subprocess.Popen(
        [
            *(AS_PROCESS_1 if process_1 else []),
            *(sys.executable, "-c", seen, "--models", models, "--port", "0"),
        ],
        env={**os.environ, "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "handler\n"
    target = process.pid
    if process_1:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        target = int(children.read_text().split()[0])
    if moment == "load":
        deadline = time.monotonic() + 60
        while not any(graph == Path(found) for found in open_files(target)):
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.02)
    os.kill(target, signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "before it was ready" in said


def open_files(process):
    """What the descriptors of a process lead to."""
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            yield descriptor.readlink()
