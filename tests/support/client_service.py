"""A service in memory for the client's tests: the contract of sessions, and faults on request."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import httpx
import numpy as np

from nextvec.async_client import AsyncClient
from nextvec.awaiting import AwaitingRunner
from nextvec.blocking import BlockingRunner
from nextvec.client import Client

DIM = 4
WINDOW = 6
FAULTS = ("lost_request", "lost_answer", "busy", "not_ready", "fault", "restart", "gateway", "late")


def expected_prediction(vectors):
    """What the model predicts after `vectors`: it differs if one is missing, doubled or moved."""
    read = np.asarray(vectors, np.float64)[-WINDOW:]
    weights = np.arange(1, len(read) + 1)[::-1] ** 0.5
    return (weights[:, None] * read).sum(axis=0).astype(np.float32)


class FakeTime:
    """A monotonic clock that only waits and requests move."""

    def __init__(self):
        self.seconds = 100.0
        self.waits = []

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.seconds += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)


class InMemoryService:
    """Sessions as the service keeps them. Each request first takes one of `faults`.

    `lost_answer` carries out the request, and `late` carries it out after the next one.
    """

    def __init__(self):
        self.sessions = {}
        self.last = {}
        self.evicted = set()
        self.faults = deque()
        self.late = deque()
        self.requests = []
        self.labels = {}
        self.version = "phase-2"
        self.max_length = 0

    def transport(self):
        return httpx.MockTransport(self.handle)

    def evict(self, session):
        if self.sessions.pop(session, None) is not None:
            self.last.pop(session, None)
            self.evicted.add(session)

    def restart(self):
        self.sessions, self.last, self.evicted = {}, {}, set()

    def handle(self, request):
        self.requests.append(request)
        if request.url.path == "/v2":
            models = [{"name": "next-vector", "version": self.version, "context_window": WINDOW}]
            return httpx.Response(200, json={"models": models})
        return self._with_fault(request, self.faults.popleft() if self.faults else None)

    def _with_fault(self, request, fault):
        if fault == "late":
            self.late.append(request)
            raise httpx.ReadTimeout("no answer", request=request)
        if fault == "lost_request":
            raise httpx.ConnectError("refused", request=request)
        if fault == "restart":
            self.restart()
            raise httpx.RemoteProtocolError("server disconnected", request=request)
        if fault == "busy":
            return self.refusal(429, "queue_full", headers={"Retry-After": "1"})
        if fault == "not_ready":
            return self.refusal(503, "not_ready")
        if fault == "fault":
            return self.refusal(500, "engine_fault")
        answer = self._answer(request)
        while self.late:
            self._answer(self.late.popleft())
        if fault == "lost_answer":
            raise httpx.ReadError("reset", request=request)
        if fault == "gateway":
            return httpx.Response(502, text="<html>bad gateway</html>")
        return answer

    def _answer(self, request):
        path = request.url.path
        if path == "/v1/predict":
            context = np.frombuffer(request.content, "<f4").reshape(-1, DIM)
            return self.prediction(expected_prediction(context))
        if path == "/v1/steps":
            return self._steps(request.content)
        if path.startswith("/v1/sessions/"):
            return self._session(request, path.split("/")[3])
        if path == "/v1/feedback":
            label = request.url.params["request_id"]
            counted = label not in self.labels
            self.labels[label] = np.frombuffer(request.content, "<f4")
            return httpx.Response(202, json={"request_id": label, "counted": counted})
        return self.refusal(404, "not_found")

    def _session(self, request, session):
        if request.method == "DELETE":
            return self._delete(session)
        if request.method == "GET":
            return self._read(session)
        rows = np.frombuffer(request.content, "<f4").reshape(-1, DIM)
        status, result = self.append(session, rows, int(request.url.params["position"]))
        return self.prediction(result) if status == 200 else result

    def append(self, session, rows, position):
        """Status and predicted vector, or status and the refusal."""
        held = self.sessions.get(session)
        if held is None:
            if session in self.evicted and position:
                return 410, self.refusal(410, "session_gone")
            if position:
                return 409, self.refusal(409, "position_mismatch", position=0)
            held = []
        if position != len(held):
            if self.last.get(session) == (position, rows.tobytes()):
                return 200, expected_prediction(held)
            return 409, self.refusal(409, "position_mismatch", position=len(held))
        self.evicted.discard(session)
        self.sessions[session] = [*held, *rows]
        self.last[session] = (position, rows.tobytes())
        self.max_length = max(self.max_length, len(self.sessions[session]))
        return 200, expected_prediction(self.sessions[session])

    def prediction(self, vector):
        headers = {
            "X-Request-Id": f"r{len(self.requests)}",
            "X-Variant": "stable",
            "X-Model-Version": self.version,
            "Server-Timing": "queue;dur=1.5, inference;dur=20.25, total;dur=22.000",
        }
        return httpx.Response(200, content=vector.astype("<f4").tobytes(), headers=headers)

    def refusal(self, status, code, *, headers=None, **details):
        body = {**details, "error": f"refused: {code}", "code": code, "request_id": "r0"}
        return httpx.Response(status, json=body, headers=headers)

    def _delete(self, session):
        if session in self.evicted:
            return self.refusal(410, "session_gone")
        if self.sessions.pop(session, None) is None:
            return self.refusal(404, "session_not_found")
        self.last.pop(session, None)
        return httpx.Response(204)

    def _read(self, session):
        if session not in self.sessions:
            return self.refusal(404, "session_not_found")
        body = {"id": session, "length": len(self.sessions[session]), "variant": None}
        return httpx.Response(200, json={**body, "version": self.version, "bytes": 1})

    def _steps(self, content):
        count = int.from_bytes(content[4:8], "little")
        assert content[:4] == b"NVS1"
        rows = np.frombuffer(content, [("session", "S128"), ("position", "<i8")], count, 8)
        vectors = np.frombuffer(content, "<f4", offset=8 + rows.nbytes).reshape(count, DIM)
        answers = np.zeros(count, [("status", "<u4"), ("reserved", "<u4"), ("length", "<i8")])
        predicted = np.zeros((count, DIM), "<f4")
        for i, (session, position) in enumerate(rows.tolist()):
            status, result = self.append(session.decode(), vectors[i : i + 1], position)
            length = position + 1
            if status == 200:
                predicted[i] = result
            else:
                length = json.loads(result.content).get("position", -1)
            answers[i] = (status, 0, length)
        head = b"NVR1" + count.to_bytes(4, "little")
        return httpx.Response(200, content=head + answers.tobytes() + predicted.tobytes())


def client_of(service, clock=None, **options):
    """A client of `service` that waits on `clock`, and shortens no wait at random."""
    clock = clock or FakeTime()
    http = httpx.Client(transport=service.transport())
    client = Client("http://service", http_client=http, **options)
    timed = replace(client._run.options, now=clock.now, draw=lambda: 0.0)
    client._run = BlockingRunner(timed, http, clock.sleep)
    return client


def async_client_of(service, clock=None, **options):
    """As `client_of`, for `async with`."""
    clock = clock or FakeTime()
    http = httpx.AsyncClient(transport=service.transport())
    client = AsyncClient("http://service", http_client=http, **options)
    timed = replace(client._run.options, now=clock.now, draw=lambda: 0.0)
    client._run = AwaitingRunner(timed, http, clock.sleep_async)
    return client
