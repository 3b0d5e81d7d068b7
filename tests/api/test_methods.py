"""HEAD, OPTIONS and trailing slashes on every route."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fakes import TOKENS

AUTHORIZED = {"Authorization": f"Bearer {TOKENS['viewer']}"}
GETS = [
    "/v2/health/ready",
    "/v2/health/live",
    "/v2",
    "/v2/models/next-vector",
    "/v2/models/stats",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/",
    "/console",
    "/admin/v1/rollout",
    "/admin/v1/rollout/history",
]


@pytest.mark.parametrize("path", GETS)
async def test_head_is_get_without_a_body(service, path):
    expected = await service.client.get(path, headers=AUTHORIZED)
    answer = await service.client.head(path, headers=AUTHORIZED)
    assert answer.status_code == expected.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert "x-request-id" in answer.headers


async def test_head_of_an_endless_stream_ends_and_no_proxy_may_hold_it_up(service):
    async with asyncio.timeout(5):
        answer = await service.client.head("/admin/v1/rollout/events", headers=AUTHORIZED)
    assert (answer.status_code, answer.content) == (200, b"")
    # Proxies must neither keep nor collect its events.
    assert ("no", "no-store") == (
        answer.headers["x-accel-buffering"],
        answer.headers["cache-control"],
    )


@pytest.mark.parametrize(
    ("path", "status"), [("/admin/v1/rollout", 401), ("/v1/sessions/unknown", 404)]
)
async def test_head_has_the_errors_of_get(service, path, status):
    assert (await service.client.head(path)).status_code == status


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/predict", "OPTIONS, POST"),
        ("/v1/sessions/x", "DELETE, GET, HEAD, OPTIONS"),
        ("/admin/v1/rollout", "GET, HEAD, OPTIONS, POST"),
        ("/v2/health/ready", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_names_the_methods(service, path, allowed):
    answer = await service.client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (200, allowed)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/predict", "OPTIONS, POST"),
        ("HEAD", "/v1/predict", "OPTIONS, POST"),
        ("PUT", "/v1/sessions/x", "DELETE, GET, HEAD, OPTIONS"),
        ("PATCH", "/admin/v1/rollout", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_a_wrong_method_is_told_all_that_the_path_has(service, method, path, allowed):
    """Also the methods of the path's other routes."""
    answer = await service.client.request(method, path, headers=AUTHORIZED)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_options_of_an_unknown_path_is_not_found(service):
    assert (await service.client.options("/nowhere")).status_code == 404


@pytest.mark.parametrize("path", ["/admin/v1/rollout/", "/v1/predict/", "/v2/health/ready/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_trailing_slash_is_no_redirect(service, method, path):
    """Behind TLS, a redirect would lose the scheme and the prefix, and turn POST into GET."""
    headers = {**AUTHORIZED, "X-Forwarded-Proto": "https"}
    answer = await service.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
