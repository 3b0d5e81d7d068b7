"""The null server answers whole requests, in a process of its own."""

from __future__ import annotations

import pytest

from loadtest.bench.null_server import run_null_server
from loadtest.generator.http_client import HttpClient


@pytest.mark.slow
async def test_every_request_gets_the_same_number_of_zero_bytes():
    async with run_null_server(12) as (url, process):
        client = HttpClient(url)
        bodies = [(await client.request("POST", "/any", body=bytes(n))).body for n in (0, 5000)]
        client.close()
        assert process.poll() is None
    assert [bytes(12)] * 2 == bodies
    assert process.returncode is not None
