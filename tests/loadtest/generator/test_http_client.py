"""The HTTP client against a small real server with scripted responses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from loadtest.generator.http_client import ClientError, HttpClient

OK = b"HTTP/1.1 200 OK\r\nX-Variant: stable\r\nContent-Length: 2\r\n\r\nhi"


class RawServer:
    """Responds to each request with the next list of pieces; None closes the connection."""

    def __init__(self, *answers: list[bytes | None]) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for piece in self.answers.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            await reader.read()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers, patience=5.0, api_key=None):
    server = RawServer(*answers)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    client = HttpClient(
        f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", patience, api_key
    )
    try:
        yield server, client
    finally:
        client.close()
        listening.close()
        await listening.wait_closed()
        await asyncio.sleep(0)


async def test_a_response_has_its_status_headers_and_body():
    """Header names are in lower case; the server gets the whole request."""
    async with serving([OK]) as (server, client):
        response = await client.request("POST", "/v1/predict", {"X-Routing-Key": "a"}, b"body")
        requests = server.requests
    assert (200, b"hi") == (response.status, response.body)
    assert response.headers["x-variant"] == "stable"
    assert requests[0].startswith(b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Routing-Key: a\r\nContent-Length: 4\r\n\r\nbody" in requests[0]


async def test_a_connection_is_reused():
    """Ten sequential requests use one connection."""
    async with serving(*[[OK]] * 10) as (server, client):
        for _ in range(10):
            await client.request("GET", "/")
        got = server.connections
    assert got == 1


async def test_concurrent_requests_have_a_connection_each():
    """None waits for another's response."""
    async with serving([OK], [OK], [OK]) as (server, client):
        await asyncio.gather(*(client.request("GET", "/") for _ in range(3)))
        got = server.connections
    assert got == 3


async def test_a_response_can_arrive_byte_by_byte():
    """Reads can end anywhere."""
    async with serving([OK[i : i + 1] for i in range(len(OK))]) as (_, client):
        got = await client.request("GET", "/")
    assert got.body == b"hi"


async def test_a_chunked_response_is_joined():
    """The framing of the chunks is not part of the body."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"
    async with serving([chunked]) as (_, client):
        got = await client.request("GET", "/")
    assert got.body == b"hi!"


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
async def test_an_error_status_is_a_response(status):
    """Only a missing response raises."""
    answer = f'HTTP/1.1 {status} X\r\nContent-Length: 12\r\n\r\n{{"code":"x"}}'.encode()
    async with serving([answer]) as (_, client):
        response = await client.request("GET", "/")
    assert (status, {"code": "x"}) == (response.status, response.json())


@pytest.mark.parametrize("before", [[], [OK[:10]], [OK[:-1]]])
async def test_a_connection_closed_early_is_an_error_and_the_next_request_works(before):
    """Before the response, within its head, or within its body."""
    async with serving([*before, None], [OK]) as (_, client):
        with pytest.raises(ClientError, match="closed before the response was complete"):
            await client.request("GET", "/")
        got = await client.request("GET", "/")
    assert got.status == 200


async def test_a_connection_with_connection_close_is_not_reused():
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with serving([last], [OK]) as (server, client):
        await client.request("GET", "/")
        await client.request("GET", "/")
        got = server.connections
    assert got == 2


async def test_a_missing_response_is_an_error_after_the_timeout():
    """A late response cannot reach the next request, which uses another connection."""
    async with serving([], [OK], patience=0.01) as (server, client):
        with pytest.raises(ClientError, match=r"no response within 0\.01 s"):
            await client.request("GET", "/")
        client._timeout = 5
        await client.request("GET", "/")
        got = server.connections
    assert got == 2


async def test_what_is_not_http_is_an_error():
    """It is not taken for an empty response."""
    async with serving([b"SSH-2.0-x\r\n"]) as (_, client):
        with pytest.raises(ClientError, match=r"not an HTTP/1\.1 response"):
            await client.request("GET", "/")


async def test_a_refused_connection_is_an_error():
    """The message has the address."""
    with pytest.raises(ClientError, match=r"127\.0\.0\.1:1: "):
        await HttpClient("http://127.0.0.1:1").request("GET", "/")


@pytest.mark.parametrize("url", ["https://x", "localhost:8080", "http://", "http://x/v1"])
def test_a_url_of_another_form_is_refused(url):
    """The client supports plain HTTP to a host only."""
    with pytest.raises(ValueError, match="not of the form"):
        HttpClient(url)


async def test_every_request_carries_the_api_key():
    async with serving([OK], [OK], api_key="a-key") as (server, client):
        await client.request("POST", "/x")
        await client.request("POST", "/y", {"Accept": "text/plain"})
        heads = server.requests
    assert all(b"X-API-Key: a-key\r\n" in head for head in heads)
