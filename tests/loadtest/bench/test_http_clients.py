"""Every client that is compared sends the same request and reads the same response."""

from __future__ import annotations

import pytest

from loadtest.bench.http_clients import open_caller
from loadtest.bench.null_server import run_null_server


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own", "aiohttp", "httpx"])
async def test_a_client_reads_the_whole_response(name):
    async with run_null_server(3072) as (url, _), open_caller(name, url) as caller:
        response = await caller.call()
    assert (200, bytes(3072)) == (response.status, response.body)
