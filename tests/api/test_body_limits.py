"""Bodies that are too large or never end."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fakes import TOKENS

ROUTES = [
    "/v1/predict",
    "/v1/sessions/s/vectors",
    "/v2/models/next-vector/infer",
    "/admin/v1/rollout",
    "/admin/v1/rollout/pause",
]
HEADERS = {
    "Authorization": f"Bearer {TOKENS['approver']}",
    "Content-Type": "application/json",
}


async def endless():
    while True:
        yield b" " * 400
        await asyncio.sleep(0)


async def stalled():
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("content", [b" " * 1001, endless], ids=["declared", "chunked"])
async def test_a_body_over_the_limit_is_too_large(start, route, content):
    """With a declared length or without."""
    async with start(limits={"max_body_bytes": 1000}) as service:
        body = content() if callable(content) else content
        answer = await service.client.post(route, content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("route", ROUTES)
async def test_a_stalled_body_is_dropped(start, route):
    """The caller gets an error."""
    async with start(limits={"body_timeout_seconds": 0.01}) as service:
        answer = await service.client.post(route, content=stalled(), headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_timeout")
