"""Predictions from real ONNX files over a real socket."""

from __future__ import annotations

import concurrent.futures
import json
import re
import socket

import numpy as np
import pytest

from tests.support.fakes import unit_vectors

DIM = 768


@pytest.mark.parametrize("variant", ["stable", "canary"])
def test_sessions_agree_with_recomputation(serve, variant):
    """To 1e-5 within the window and past it, for appends of any size, with full history."""
    with serve("--stable", "phase-2" if variant == "stable" else "phase-3") as server:
        vectors = unit_vectors(50, dim=DIM)
        position = 0
        for size in (1, 7, 1, 1, 9, 1, 1, 20, 1, 1, 7):
            got = server.append("s", vectors[position : position + size], position=position)
            position += size
            expected = server.predict(vectors[:position])
            np.testing.assert_allclose(expected, got, atol=1e-5)
            assert float(np.linalg.norm(got)) == pytest.approx(1.0, abs=1e-5)


def test_json_and_binary_agree(server):
    """A JSON request with a binary response equals a binary request with a JSON response."""
    context = unit_vectors(5, dim=DIM)
    binary = server.predict(context)
    answer = server.client.post(
        "/v1/predict",
        json={"context": context.tolist()},
        headers={"Accept": "application/octet-stream"},
    )
    np.testing.assert_allclose(binary, np.frombuffer(answer.content, "<f4"), atol=1e-6)


def test_callers_at_once_get_their_own_answers(server):
    """A prediction does not depend on the other contexts in its batch."""
    contexts = [unit_vectors(1 + i % 30, seed=i, dim=DIM) for i in range(40)]
    alone = [server.predict(context) for context in contexts]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(server.predict, contexts))
    for expected, got in zip(alone, together, strict=True):
        np.testing.assert_allclose(expected, got, atol=1e-5)


def test_callers_who_leave_do_not_hurt_those_who_stay(server):
    """A closed connection cancels only its own request."""
    context = unit_vectors(20, dim=DIM)
    expected = server.predict(context)
    body = context.astype("<f4").tobytes()
    url = server.client.base_url
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: {url.host}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    def leave(_):
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(head + body)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        leaving = pool.map(leave, range(20))
        staying = list(pool.map(server.predict, [context] * 20))
        list(leaving)
    for got in staying:
        np.testing.assert_allclose(expected, got, atol=1e-5)


def test_the_server_says_what_runs_where(server):
    """`/v2`, the log and the metrics show device, precision, versions and windows."""
    content = server.client.get("/v2").json()
    found = {m["version"]: (m["context_window"], m["provider"]) for m in content["models"]}
    assert set(found) == {"phase-2", "phase-3"}
    assert found["phase-2"][0] == 20
    assert found["phase-2"][1] in {"CPUExecutionProvider", "CUDAExecutionProvider"}
    assert {"fp32"} == {m["precision"] for m in content["models"]}
    assert "loaded phase-2 on CPUExecutionProvider, steps in fp32" in server.log.read_text()
    shown = 'nextvec_version_info{precision="fp32",provider="CPUExecutionProvider",'
    assert f'{shown}version="phase-2"}} 1.0' in server.client.get("/metrics").text


def test_the_documented_api_is_the_served_one(server):
    """The OpenAPI page lists every route of the contract."""
    paths = server.client.get("/openapi.json").json()["paths"]
    for path in (
        "/v1/predict",
        "/v1/sessions/{session_id}/vectors",
        "/v1/sessions/{session_id}",
        "/admin/v1/rollout",
        "/admin/v1/rollout/promote",
        "/admin/v1/rollout/history",
        "/admin/v1/rollout/events",
        "/metrics",
        "/v2",
        "/v2/health/ready",
    ):
        assert path in paths
    json.dumps(paths)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_page_of_the_api_needs_no_other_server(server, page):
    """The page loads everything from this server, so it works without internet access."""
    content = server.client.get(page)
    assert content.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', content.text)
    assert len(loaded) >= 2
    for address in loaded:
        assert address.startswith("/")
        assert server.client.get(address).status_code == 200
