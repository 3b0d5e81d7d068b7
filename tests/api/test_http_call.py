"""A prediction request, independent of the server path that carried it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from fastapi import Request

from service.api.http_call import HttpCall, cancel_on_disconnect
from service.api.services import Services
from service.errors import Cancelled


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("position=3", "3"),
        ("position=", None),
        ("position=-1", "-1"),
        ("position=1&position=2", "2"),
        ("other=1&position=%32", "2"),
        ("other=1", None),
        ("positions=1", None),
    ],
)
async def test_a_query_parameter_is_its_last_value(query, expected):
    call = HttpCall(cast("Services", None), "id", {}, query, b"")
    assert (expected or None) == (call.parameter("position") or None)


def request_of(messages: asyncio.Queue) -> Request:
    return Request({"type": "http", "headers": []}, messages.get)


async def test_work_is_cancelled_when_the_caller_disconnects():
    messages = asyncio.Queue()
    ended = []

    async def work() -> None:
        try:
            messages.put_nowait({"type": "http.disconnect"})
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(Cancelled):
        await cancel_on_disconnect(request_of(messages), work())
    assert ended == [True]


async def test_work_that_ends_first_returns_its_result():
    async def work() -> str:
        await asyncio.sleep(0)
        return "answer"

    assert "answer" == await cancel_on_disconnect(request_of(asyncio.Queue()), work())


async def test_another_cancellation_is_not_a_disconnect():
    """For example that of a server that shuts down."""
    task = asyncio.create_task(cancel_on_disconnect(request_of(asyncio.Queue()), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
