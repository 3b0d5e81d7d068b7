"""`nextvec rollout` against addresses that are not the service: one line, no traceback."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from service.cli import main


@pytest.fixture
def answering():
    """A function that starts a server with one fixed response and returns its address."""
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
        main(["rollout", "--url", answering(content), *action])


@pytest.mark.parametrize(
    ("url", "token"),
    [("http://127.0.0.1:port", "t"), ("http://[", "t"), ("http://127.0.0.1:9", "a\nb")],
)
def test_an_address_or_token_that_cannot_be_sent_is_one_line(url, token):
    with pytest.raises(SystemExit, match="nextvec rollout: "):
        main(["rollout", "--url", url, "--token", token, "status"])


@pytest.mark.parametrize("action", [["status"], ["start", "phase-3"]])
def test_a_redirect_is_refused(answering, action):
    """The other address would receive the token and the change."""
    other = answering(http(b'{"phase": "Healthy", "outlook": "idle"}'))
    redirect = b"HTTP/1.1 307 X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % other.encode()
    with pytest.raises(SystemExit, match=r"HTTP 307\)\. The redirect is not followed"):
        main(["rollout", "--url", answering(redirect), *action])


def test_an_address_may_have_capitals(answering, capsys):
    url = answering(http(b'{"phase": "Healthy", "outlook": "idle"}')).replace("http://", "HTTP://")
    assert 0 == main(["rollout", "--url", url, "status", "--json"])


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@127.0.0.1:9",
        "HTTP://s3cret@127.0.0.1:9",
        "htp://user:s3cret@127.0.0.1:9",
        "http://user:s3cret@",
        "http://user:s3cret@127.0.0.1:port",
        "http://127.0.0.1:9/?token=1",
        "127.0.0.1:8080",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_secret(url, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rollout", "--url", url, "status"])
    assert "--url" in str(caught.value.code)
    assert "s3cret" not in str(caught.value.code)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
def test_a_proxy_of_the_environment_gets_no_token(answering, monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    url = answering(http(b'{"phase": "Healthy", "outlook": "idle"}'))
    assert 0 == main(["rollout", "--url", url, "--token", "t", "status", "--json"])


def test_a_file_of_authorities_that_is_none_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(SystemExit, match=rf"--ca .*{name}"):
            main(["rollout", "--url", "https://h", "--ca", str(tmp_path / name), "status"])


@pytest.mark.parametrize("option", [["--json"], ["--output", "json"], ["-o", "json"]])
def test_the_status_as_json_is_the_response(answering, capsys, option):
    status = {"phase": "Healthy", "outlook": "idle", "message": "no [canary] is running"}
    url = answering(http(json.dumps(status).encode()))
    assert 0 == main(["rollout", "--url", url, "status", *option])
    assert status == json.loads(capsys.readouterr().out)


def test_the_history_as_json_is_the_response(answering, capsys):
    url = answering(http(b'[{"actor": "approver"}]'))
    assert 0 == main(["rollout", "--url", url, "history", "-o", "json"])
    assert [{"actor": "approver"}] == json.loads(capsys.readouterr().out)


def test_an_override_of_the_gate_requires_a_reason():
    with pytest.raises(SystemExit, match="requires --reason"):
        main(["rollout", "start", "phase-3", "--override-gate"])


def test_a_service_of_an_earlier_version_is_named(answering):
    """Its status has no outlook; a traceback would say less."""
    url = answering(http(b'{"phase": "Healthy"}'))
    with pytest.raises(SystemExit, match="of an earlier version"):
        main(["rollout", "--url", url, "status"])
