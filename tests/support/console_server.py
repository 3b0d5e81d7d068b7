"""A server of the console's own files, with a rollout's status that the test sets."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import urlsplit

from service.api.console import FILES, HEADERS, PAGE
from service.api.console.presets import presets
from service.rollout.plan.rollout_plan import RolloutPlan
from tests.support.console_past import VERSIONS, history, timeline
from tests.support.console_states import STATES

ROLLOUT = "/admin/v1/rollout"
LINKS = {"grafana": "http://grafana.example/d/nextvec", "runbook": "http://wiki.example/runbook"}


class ConsoleFixture:
    """What the server answers. `lost` closes every connection without an answer."""

    def __init__(self) -> None:
        self.state = "idle"
        self.role = "approver"
        self.lost = False
        self.more: dict = {}
        self.url = ""

    def status(self) -> dict:
        return {**STATES[self.state](time.time()), **self.more}

    def answer(self, path: str) -> object:
        """The JSON at `path`; None where there is none."""
        now = time.time()
        return {
            ROLLOUT: self.status,
            f"{ROLLOUT}/history": lambda: [] if self.state == "idle" else history(now),
            f"{ROLLOUT}/timeline": lambda: timeline(now, self.status()),
            "/admin/v1/versions": lambda: VERSIONS,
            "/admin/v1/console": lambda: {
                "name": "staging",
                "links": LINKS,
                "presets": presets(RolloutPlan()),
            },
        }.get(path, lambda: None)()


class ConsoleHandler(BaseHTTPRequestHandler):
    """Answers from the server's `fixture`."""

    def do_GET(self):
        fixture = self.server.fixture
        path = urlsplit(self.path).path
        if path == "/console" or path.removeprefix("/console/") in FILES:
            name = PAGE if path == "/console" else path.removeprefix("/console/")
            kind = FILES.get(name, "text/html; charset=utf-8")
            self._send(files("service.api.console").joinpath(name).read_bytes(), kind)
        elif fixture.lost:
            self.close_connection = True
        elif path == f"{ROLLOUT}/events":
            self._stream()
        elif (found := fixture.answer(path)) is not None:
            self._send(json.dumps(found).encode(), "application/json")
        else:
            self.send_error(404)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"{}")
        if self.server.fixture.lost:
            self.close_connection = True
            return
        moves = [{"from": "Healthy", "to": "Pending", "weight_percent": 0, "message": "loading"}]
        status = self.server.fixture.status()
        answer = {**status, "dry_run": True, "transitions": moves, "asked": body}
        self._send(json.dumps(answer).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Role", self.server.fixture.role)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self) -> None:
        """One status, then silence until the fixture loses its connections."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        status = json.dumps(self.server.fixture.status())
        self.wfile.write(f"event: status\ndata: {status}\n\n".encode())
        self.wfile.flush()
        while not (self.server.fixture.lost or self.server.ending.wait(0.05)):
            pass
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class ConsoleServer(ThreadingHTTPServer):
    """The server, with its fixture."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ConsoleHandler)
        self.fixture = ConsoleFixture()
        self.fixture.url = f"http://127.0.0.1:{self.server_port}"
        self.ending = threading.Event()


@contextmanager
def console_server():
    """Run the server until the block ends; gives its fixture."""
    with ConsoleServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.fixture
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()
