"""`nextvec loadtest` against a small server that implements a part of the contract."""

from __future__ import annotations

import asyncio
import re
import threading

import numpy as np
import orjson
import pytest

from service.cli import main
from tests.support.rollout_status import status

pytestmark = pytest.mark.slow


class ServiceThread(threading.Thread):
    """Responds to predictions with `code`, and to readiness and rollout status requests."""

    def __init__(self, code=200):
        super().__init__(daemon=True)
        self.code = code
        self.paths = []
        self.listening = threading.Event()
        self.url = ""
        self._loop = asyncio.new_event_loop()

    def run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self):
        self._loop.call_soon_threadsafe(self._stopped.set)
        self.join()

    async def _serve(self):
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.listening.set()
        await self._stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _handle(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
                await reader.readexactly(int(length[1]) if length else 0)
                path = head.split()[1]
                self.paths.append(path)
                code, body = 200, b""
                if path.startswith("/v1/"):
                    code = self.code
                elif path.startswith("/admin/"):
                    code = 200 if "Bearer secret" in head else 401
                    body = orjson.dumps(status())
                writer.write(
                    f"HTTP/1.1 {code} X\r\nX-Variant: stable\r\nX-Model-Version: phase-2\r\n"
                    f"Server-Timing: total;dur=1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "sample.npz"
    rng = np.random.default_rng(0)
    quantised = rng.integers(1, 127, (50, 8)).astype(np.int8)
    np.savez(path, vectors_int8=quantised, scale=np.ones(50, np.float32))
    return path


@pytest.fixture
def service():
    running = ServiceThread()
    running.start()
    running.listening.wait()
    yield running
    running.stop()


def run(command, *words):
    return main([command, *(str(word) for word in words)])


@pytest.mark.parametrize("mode", ["stateless", "session"])
def test_a_run_leaves_a_report_and_a_picture(service, data, tmp_path, mode):
    """Twenty requests succeed at the requested rate."""
    out = tmp_path / "out"
    words = ["--url", service.url, "--mode", mode, "--rate", 100, "--duration", 0.2]
    words += ["--arrivals", "constant", "--context", 5, "--data", data, "--out", out]
    assert run("loadtest", *words, "--token", "secret") == 0
    read = orjson.loads((out / "report.json").read_bytes())
    assert (20, 0) == (read["count"], read["errors"])
    assert ("stable", "phase-2", 20) == tuple(
        read["rows"][0][key] for key in ("variant", "version", "count")
    )
    assert read["settings"]["mode"] == mode
    assert (out / "latency.png").exists()
    assert any(path.startswith("/admin/v1/rollout") for path in service.paths)


def test_json_output_is_the_report(service, data, tmp_path, capsys):
    """Nothing else is printed to standard output."""
    words = ["--url", service.url, "--rate", 100, "--duration", 0.1, "--data", data]
    assert run("loadtest", *words, "--out", tmp_path, "-o", "json") == 0
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    assert report == orjson.loads(capsys.readouterr().out)


def test_too_many_errors_exit_with_1(service, data, tmp_path, capsys):
    """The output has the most frequent error."""
    service.code = 503
    words = ["--url", service.url, "--rate", 100, "--duration", 0.1, "--data", data]
    assert run("loadtest", *words, "--out", tmp_path / "out") == 1
    assert "no request succeeded: 503" in capsys.readouterr().out


def test_a_wrong_token_is_reported_before_the_run(service, data, tmp_path):
    """The run of 60 s does not start."""
    words = ["--url", service.url, "--duration", 60, "--data", data, "--token", "wrong"]
    with pytest.raises(SystemExit, match="status 401"):
        run("loadtest", *words, "--out", tmp_path)


def test_a_missing_server_is_reported_with_advice(data, tmp_path):
    """The message has its address and the command that starts one."""
    with pytest.raises(SystemExit, match=r"127\.0\.0\.1:1: .*nextvec serve"):
        run("loadtest", "--url", "http://127.0.0.1:1", "--data", data, "--out", tmp_path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--url", "https://x"], "not of the form"),
        (["--data", "/nowhere.npz"], "no such file"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(words, reason, tmp_path):
    """Without a traceback."""
    with pytest.raises(SystemExit, match=f"nextvec loadtest: .*{reason}"):
        run("loadtest", *words, "--out", tmp_path)


@pytest.mark.parametrize("words", [["--rate", "0"], ["--rate", "x"], ["--context", "0"]])
def test_an_invalid_number_is_refused(words, capsys):
    """The message names the option."""
    assert run("loadtest", *words) == 2
    assert f"'{words[0]}'" in " ".join(capsys.readouterr().err.split())


def test_a_demo_without_checkpoints_is_reported_with_advice(tmp_path):
    """The message has the missing file and the command that makes it."""
    words = ["--checkpoints", tmp_path, "--out", tmp_path / "out"]
    with pytest.raises(SystemExit, match=r"phase-2\.safetensors is missing.*nextvec train"):
        run("demo", *words)
