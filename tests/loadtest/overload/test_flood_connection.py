"""A connection of a flood reads where a response ends."""

from __future__ import annotations

import pytest

from loadtest.overload.flood_connection import FloodConnection


class FakeTransport:
    """Keeps what is written."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True


@pytest.fixture
def connected():
    statuses = []
    connection = FloodConnection(lambda _connection, status: statuses.append(status))
    transport = FakeTransport()
    connection.connection_made(transport)
    return connection, transport, statuses


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_response_may_come_in_pieces(connected, size):
    connection, transport, statuses = connected
    connection.send(b"request")
    response = b"HTTP/1.1 429 Too Many\r\nContent-Length: 12\r\nx: y\r\n\r\nhello, world"
    for at in range(0, len(response), size):
        assert statuses == []
        connection.data_received(response[at : at + size])
    assert (statuses, transport.written, connection.open) == ([429], b"request", True)


def test_a_connection_that_the_server_closes_is_not_used_again(connected):
    connection, transport, statuses = connected
    connection.send(b"request")
    connection.data_received(b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\nConnection: close\r\n\r\n")
    assert (statuses, transport.closed, connection.open) == ([503], True, False)


@pytest.mark.parametrize("response", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n"])
def test_what_cannot_be_read_ends_the_request_without_a_response(connected, response):
    connection, transport, statuses = connected
    connection.send(b"request")
    connection.data_received(response)
    assert transport.closed
    connection.connection_lost(None)
    assert (statuses, connection.open) == ([0], False)


def test_an_idle_connection_that_is_lost_is_no_response(connected):
    connection, _transport, statuses = connected
    connection.connection_lost(None)
    assert (statuses, connection.open) == ([], False)
