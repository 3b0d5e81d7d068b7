"""`nextvec rollout` at an address that is not the service's: one line that says so, no trace."""

from __future__ import annotations

import argparse
import socket
import threading

import pytest

from service.commands import rollout


@pytest.fixture
def answering():
    """A server that answers whatever it is asked with the same bytes; its address."""
    listening = []

    def begin(content: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield begin
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    rollout.add_arguments(parser)
    return parser.parse_args(given)


def http(content: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(content)) + content


@pytest.mark.parametrize("action", [["status"], ["history"], ["abort"]])
@pytest.mark.parametrize(
    "content",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        http(b"<html>hello</html>"),
        http(b"\xff\xfe"),
        http(b"null"),
        http(b"3"),
        http(b'{"another": "service"}'),
        http(b"not found", b"404 Not Found"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    ],
)
def test_an_answer_of_another_service_is_one_line(answering, action, content):
    with pytest.raises(SystemExit, match="nextvec rollout: "):
        rollout.run(arguments("--url", answering(content), *action))


@pytest.mark.parametrize(
    ("url", "token"),
    [("http://127.0.0.1:port", "t"), ("http://[", "t"), ("http://127.0.0.1:9", "a\nb")],
)
def test_an_address_or_token_that_cannot_be_sent_is_one_line(url, token):
    with pytest.raises(SystemExit, match="nextvec rollout: "):
        rollout.run(arguments("--url", url, "--token", token, "status"))
