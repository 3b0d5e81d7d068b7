"""A real server with API keys, named tokens, HTTPS and a proxy's prefix."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from service.api.tls import WATCH_SECONDS
from tests.support.serving import NEXTVEC, START_SECONDS, serving
from tests.support.tls_files import make_certificate

A, B = "key-of-a-key-of-a", "key-of-b-key-of-b"
VECTOR = np.eye(1, 768, dtype="<f4")
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def keyed(models, tmp_path_factory):
    """A server whose keys and tokens come from files."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "a").write_text(f"{A}\n")
    (folder / "alice").write_text("alices-own-secret-token")
    keys = [
        {"name": "a", "key_file": str(folder / "a"), "requests_per_second": 1000},
        {"name": "b", "key": B, "max_sessions": 1},
    ]
    tokens = [{"name": "alice", "role": "approver", "token_file": str(folder / "alice")}]
    with serving(
        models,
        folder,
        "--canary",
        "phase-3",
        NEXTVEC_CALLERS__KEYS=json.dumps(keys),
        NEXTVEC_ADMIN__TOKENS=json.dumps(tokens),
    ) as server:
        yield server


def chunks():
    """A body of unknown length, which the framework reads and not the fast path."""
    yield VECTOR.tobytes()


BODIES = [VECTOR.tobytes(), chunks]


@pytest.mark.parametrize("body", BODIES, ids=["fast path", "framework"])
def test_both_server_paths_need_a_key(keyed, body):
    def post(path, **headers):
        content = body() if callable(body) else body
        return keyed.client.post(path, content=content, headers={**BINARY, **headers})

    for path in ("/v1/predict", "/v1/sessions/paths/vectors"):
        assert post(path).status_code == 401
        assert post(path, **{"X-API-Key": "wrong"}).status_code == 401
        assert post(path, **{"X-API-Key": A, "Authorization": f"Bearer {B}"}).status_code == 401
        assert post(path, **{"X-API-Key": A}).status_code == 200
        assert post(path, Authorization=f"Bearer {A}").status_code == 200


@pytest.mark.parametrize("body", BODIES, ids=["fast path", "framework"])
def test_both_server_paths_keep_sessions_of_keys_apart(keyed, body):
    def post(session, key):
        content = body() if callable(body) else body
        return keyed.client.post(
            f"/v1/sessions/{session}/vectors",
            content=content,
            headers={**BINARY, "X-API-Key": key},
        )

    name = f"apart-{callable(body)}"
    assert post(name, A).json()["length"] == 1
    assert post(name, B).status_code == 404
    assert keyed.client.get(f"/v1/sessions/{name}", headers={"X-API-Key": B}).status_code == 404
    assert post(name, A).json()["length"] == 2
    assert post("own-of-b", B).status_code == 200
    refused = post(f"second-of-b-{name}", B)
    assert (refused.status_code, refused.json()["code"]) == (429, "caller_limited")
    assert "Retry-After" in refused.headers
    assert post("own-of-b", B).status_code == 200


def test_a_request_without_a_key_is_answered_before_its_body(keyed):
    """The head is enough: nobody can make the service hold a body without a key."""
    with socket.create_connection(("127.0.0.1", keyed.client.base_url.port), timeout=10) as raw:
        raw.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_a_named_token_is_in_the_audit_log_and_a_wrong_one_only_in_the_log(keyed):
    headers = {"Authorization": "Bearer alices-own-secret-token"}
    start = keyed.client.post("/admin/v1/rollout", json={"canary": "phase-3"}, headers=headers)
    assert start.status_code == 202, start.text
    history = keyed.client.get("/admin/v1/rollout/history", headers=headers).json()
    assert "alice" in {row["actor"] for row in history}
    keyed.admin("POST", "/abort")
    wrong = {"Authorization": "Bearer a-wrong-token-a-wrong-token"}
    assert keyed.client.get("/admin/v1/rollout", headers=wrong).status_code == 401
    # Lines are written by a thread of their own, so one may come after the response.
    # Failed callers of other tests are in this log too, so wait for this very line.
    line = "failed log-in (admin, unknown token) from 127.0.0.1"
    wait_for(lambda: line in keyed.log.read_text())
    log = keyed.log.read_text()
    assert "a-wrong-token" not in log
    assert "nextvec_failed_logins_total" in keyed.client.get("/metrics").text


def test_https_and_a_certificate_that_changes(serve, tmp_path):
    first = make_certificate(tmp_path, "first")
    (tmp_path / "ca.pem").write_bytes(first)
    with serve(
        ca=tmp_path / "ca.pem",
        NEXTVEC_TLS__CERTIFICATE=str(tmp_path / "tls.crt"),
        NEXTVEC_TLS__KEY=str(tmp_path / "tls.key"),
    ) as server:
        assert len(server.predict(VECTOR)) == 768
        port = server.client.base_url.port
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/v2/health/live")
        # Half a change: the old certificate stays.
        (tmp_path / "tls.key").write_bytes(b"no key")
        wait_for(lambda: "the old certificate stays in use" in server.log.read_text())
        assert ssl.get_server_certificate(("127.0.0.1", port)).encode() == first
        second = make_certificate(tmp_path, "second")
        wait_for(lambda: "loaded the changed certificate" in server.log.read_text())
        assert ssl.get_server_certificate(("127.0.0.1", port)).encode() == second
        trust = ssl.create_default_context(cadata=second.decode())
        assert httpx.get(f"https://127.0.0.1:{port}/v2/health/ready", verify=trust).is_success


def wait_for(condition):
    deadline = time.monotonic() + 4 * WATCH_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_behind_a_proxy_with_a_prefix(serve, workers):
    with serve(
        "--http-workers",
        workers,
        "--canary",
        "phase-3",
        NEXTVEC_PROXY__TRUSTED="127.0.0.0/8, ::1",
        NEXTVEC_PROXY__ROOT_PATH="/nextvec",
    ) as server:
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        wrong = {**forwarded, "Authorization": "Bearer wrong-wrong-wrong"}
        assert server.client.get("/admin/v1/rollout", headers=wrong).status_code == 401
        wait_for(lambda: "from 203.0.113.9" in server.log.read_text())
        assert '"/nextvec' in server.client.get("/docs").text
        # A trailing slash is no redirect to http:// without the prefix.
        assert server.client.get("/admin/v1/rollout/", headers=forwarded).status_code == 404
        assert len(server.predict(VECTOR)) == 768
        big = np.repeat(VECTOR, 100, axis=0).tobytes()
        answer = server.client.post(
            "/v1/predict", content=iter([big]), headers={**BINARY, **forwarded}
        )
        assert answer.status_code == 200, "the limit of a body depends on its path"


def test_a_forwarded_address_of_an_unknown_proxy_is_not_believed(server):
    wrong = {"X-Forwarded-For": "203.0.113.77", "Authorization": "Bearer wrong-wrong-wrong"}
    assert server.client.get("/admin/v1/rollout", headers=wrong).status_code == 401
    assert "203.0.113.77" not in server.log.read_text()


def test_variables_of_other_programs_change_nothing(serve):
    with serve(
        WEB_CONCURRENCY="auto",
        FORWARDED_ALLOW_IPS="*",
        NEXTVEC_SERVICE_HOST="10.0.0.1",
        NEXTVEC_SERVICE_PORT="8080",
        NEXTVEC_PORT="tcp://10.0.0.1:8080",
        NEXTVEC_HOST="",
    ) as server:
        log = server.log.read_text()
        assert "enableServiceLinks: false" in log
        assert "NEXTVEC_HOST is blank" in log
        assert str(server.client.base_url.port) in log
        assert "0.0.0.0" not in log


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NEXTVEC_STABEL": "x"}, "NEXTVEC_STABEL is not a setting; did you mean NEXTVEC_STABLE?"),
        ({"NEXTVEC_ENGINE_DEVICE": "cpu"}, "did you mean NEXTVEC_ENGINE__DEVICE?"),
        ({"NEXTVEC_LIMITS__TIMEOUT_SECONDS": "inf"}, "NEXTVEC_LIMITS__TIMEOUT_SECONDS"),
        ({"NEXTVEC_ADMIN__VIEWER_TOKEN": "s3cret-s3cret-s3cret\n"}, "NEXTVEC_ADMIN__VIEWER_TOKEN"),
        ({"NEXTVEC_ADMIN__VIEWER_TOKEN_FILE": "/no/s"}, "cannot read /no/s"),
        ({"NEXTVEC_CONFIG": "/no/nextvec.toml"}, "/no/nextvec.toml: No such file"),
        ({"NEXTVEC_TLS__KEY": "/no/key"}, "certificate and key belong together"),
        (
            {"NEXTVEC_TLS__KEY": "/no/key", "NEXTVEC_TLS__CERTIFICATE": "/no/crt"},
            "cannot load the certificate /no/crt with the key /no/key: No such file",
        ),
        ({"NEXTVEC_ROLLOUT__FLOOR__REQUIRED_GUARDRAILS": "latancy"}, "did you mean 'latency'?"),
        ({"NEXTVEC_ROLLOUT__FLOOR__MIN_SAMPLES": "100000"}, "rollout.floor.min_samples"),
    ],
)
def test_a_wrong_configuration_stops_the_start_by_name(models, tmp_path, variables, expected):
    ended = subprocess.run(
        [NEXTVEC, "serve", "--models", models, "--port", "0"],
        env={**os.environ, **variables, "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "x.db")},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "s3cret" not in ended.stderr


@pytest.fixture
def provider():
    """An OpenID provider's keys behind a log-in, and what signs its tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    document = json.dumps({"keys": [{**public, "kid": "one", "alg": "ES256"}]}).encode()
    heard = []

    class JwksHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), JwksHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port, key, heard
        finally:
            server.shutdown()
            thread.join()


def test_the_audit_log_names_a_person_of_the_identity_provider(serve, provider):
    port, key, heard = provider
    issuer = "https://login.example.org"

    def bearer(signing_key=key, **claims):
        content = {
            "iss": issuer,
            "aud": "nextvec",
            "sub": "1",
            "exp": time.time() + 60,
            "email": "bob@example.org",
            "nextvec_role": "operator",
            **claims,
        }
        signed = jwt.encode(content, signing_key, "ES256", headers={"kid": "one"})
        return {"Authorization": f"Bearer {signed}"}

    with serve(
        "--canary",
        "phase-3",
        NEXTVEC_ADMIN__OIDC__ISSUER=issuer,
        NEXTVEC_ADMIN__OIDC__AUDIENCE="nextvec",
        NEXTVEC_ADMIN__OIDC__JWKS_URL=f"http://u:s3cret@127.0.0.1:{port}/certs",
    ) as server:
        post, url = server.client.post, "/admin/v1/rollout"
        assert post(url, json={"canary": "phase-3"}, headers=bearer()).status_code == 202
        assert post(f"{url}/promote", headers=bearer()).status_code == 403
        assert post(f"{url}/abort", headers=bearer(exp=time.time() - 99)).status_code == 401
        other = ec.generate_private_key(ec.SECP256R1())
        assert post(f"{url}/abort", headers=bearer(other)).status_code == 401
        assert post(f"{url}/abort", headers=bearer()).status_code == 200
        actors = {row["actor"] for row in server.admin("GET", "/history").json()}
        assert "bob@example.org" in actors
        wait_for(lambda: "failed log-in (admin, expired token)" in server.log.read_text())
        log = server.log.read_text()
        assert "s3cret" not in log
        assert "eyJ" not in log
    assert heard == ["Basic dTpzM2NyZXQ="]
