"""Bytes that no decent client sends, over a bare socket, to the real server.

Each costs its sender an error in the contract's form, or the connection where
HTTP leaves nothing else; and the service goes on serving.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
from contextlib import closing

import numpy as np
import pytest

from tests.support.fakes import unit_vectors
from tests.support.serving import serving
from tests.support.wire import Wire

VECTOR = unit_vectors(1, dim=768).tobytes()
BINARY = b"Content-Type: application/octet-stream\r\n"
PATIENCE = 0.5
"""The body timeout in seconds of the impatient server."""


@pytest.fixture(scope="module")
def impatient(models, tmp_path_factory):
    """A server with a short body timeout."""
    folder = tmp_path_factory.mktemp("impatient")
    patience = {"NEXTVEC_LIMITS__BODY_TIMEOUT_SECONDS": str(PATIENCE)}
    with serving(models, folder, **patience) as running:
        yield running


@pytest.fixture
def wire(server):
    with closing(Wire(server)) as opened:
        yield opened
    # Whatever was done to it, the service goes on.
    server.predict(unit_vectors(1, dim=768))


def head(*lines, path=b"/v1/predict", version=b"HTTP/1.1"):
    return b"\r\n".join([b"POST %s %s" % (path, version), b"Host: h", *lines, b"", b""])


def request(body, *lines, path=b"/v1/predict"):
    return head(b"Content-Length: %d" % len(body), BINARY.strip(), *lines, path=path) + body


def refused(wire, status, code):
    """Assert that the next response is this error, in the contract's form."""
    answer = wire.answer()
    assert answer is not None
    got, headers, body = answer
    content = json.loads(body)
    assert (got, content["code"]) == (status, code), content
    assert set(content) == {"error", "code", "request_id"}
    assert content["request_id"] == headers["x-request-id"]


def closed(wire):
    assert wire.answer() is None


MALFORMED = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a version of the future": b"GET / HTTP/9.9\r\n\r\n",
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + b"hello!",
    "length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks and length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n",
    "length with a sign": head(b"Content-Length: +5") + b"hello",
    "negative length": head(b"Content-Length: -1"),
    "length that is no number": head(b"Content-Length: five"),
    "length beyond 64 bits": head(b"Content-Length: 99999999999999999999999"),
    "lengths in a list": head(b"Content-Length: 5, 5") + b"hello",
    "unknown encoding last": head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "chunk of no size": head(b"Transfer-Encoding: chunked") + b"hello\r\n",
    "chunk longer than said": head(b"Transfer-Encoding: chunked") + b"2\r\nhello\r\n0\r\n\r\n",
    "chunk beyond 64 bits": head(b"Transfer-Encoding: chunked") + b"f" * 17 + b"\r\n",
    "space before the colon": head(b"Content-Length : 5") + b"hello",
    "folded header": head(b"X-A: 1", b" Content-Length: 5") + b"hello",
    "a zero byte": head(b"X-A: \x00"),
    "a tunnel": b"CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
    "a bare line feed in a header": head(b"X-A: 1\nContent-Length: 5") + b"hello",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_refused_and_the_connection_closed(wire, data):
    """The start of the next request is ambiguous, which request smuggling exploits: close."""
    wire.send(data)
    refused(wire, 400, "malformed")
    closed(wire)


@pytest.mark.parametrize(
    "data",
    [
        head(*(b"X-%d: 1" % number for number in range(10_000))),
        head(b"X-A: " + b"a" * 1_000_000),
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        head(b"Transfer-Encoding: chunked") + b"0\r\nX-A: " + b"a" * 1_000_000,
        head(b"Transfer-Encoding: chunked") + b"1;" + b"a" * 1_000_000,
    ],
    ids=["ten thousand headers", "a giant header", "a giant target", "a trailer", "an extension"],
)
def test_a_head_over_the_limits_is_refused(wire, data):
    """The head is refused before it is read to the end, so it is never held in memory."""
    wire.send(data)
    answer = wire.answer()
    if answer is not None:  # else it closed on what we were still sending
        assert answer[0] == 431
        assert json.loads(answer[2])["code"] == "head_too_large"
    closed(wire)


@pytest.mark.parametrize(
    ("path", "body", "lines", "status", "code"),
    [
        (b"/v1/predict", VECTOR[:-1], (), 400, "malformed"),
        (b"/v1/predict", b"", (), 422, "invalid"),
        (b"/v1/predict", b"\xff" * 3072, (), 422, "invalid"),
        (b"/v1/sessions/a/vectors", VECTOR + b"1234", (), 400, "malformed"),
        (b"/v1/sessions/a/vectors?position=-1", VECTOR, (), 422, "invalid"),
        (b"/v1/sessions/a%20b/vectors", VECTOR, (), 422, "invalid"),
        (b"/v1/sessions/%2e%2e/vectors", VECTOR, (), 422, "invalid"),
        (b"/v1/sessions/%2e/vectors", VECTOR, (), 422, "invalid"),
        (b"/v1/sessions/../vectors", VECTOR, (), 422, "invalid"),
        (b"/v1/sessions/x%2ey/vectors", VECTOR[:9], (), 400, "malformed"),
        (b"/v1/predict", VECTOR, (b"Accept: text/html",), 406, "not_acceptable"),
        (b"/v1/predict", VECTOR, (b"X-Variant: \xff",), 422, "invalid"),
        (b"/v2/models/next-vector/infer", VECTOR, (), 400, "malformed"),
        (b"/v2/models/other/infer", b"{}", (), 404, "model_not_found"),
    ],
)
def test_an_invalid_body_keeps_the_connection(wire, path, body, lines, status, code):
    """The connection survives the error: the next request on it is answered."""
    wire.send(request(body, *lines, path=path) + request(VECTOR))
    refused(wire, status, code)
    assert wire.answer()[0] == 200


def infer(size, body, *lines):
    """A `/v2` request for one vector that declares `size` bytes of binary data."""
    tensor = {"name": "vectors", "shape": [1, 768], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": size}
    content = json.dumps({"inputs": [tensor]}).encode()
    length = b"Inference-Header-Content-Length: %d" % len(content)
    return content + body, (length, *lines)


@pytest.mark.parametrize(("said", "sent"), [(3072, 3068), (3068, 3072), (3072, 0), (4, 4)])
def test_a_binary_size_that_does_not_match(wire, said, sent):
    """The declared size fits neither the shape nor the bytes that were sent."""
    body, lines = infer(said, VECTOR[:sent])
    wire.send(request(body, *lines, path=b"/v2/models/next-vector/infer"))
    status, _, content = wire.answer()
    assert status in {400, 422}
    assert {"error", "code", "request_id"} == set(json.loads(content))


def test_a_zip_bomb_is_not_unpacked(wire):
    """100 kB that unpack to 100 MB: unpacking stops at the limit."""
    body = gzip.compress(bytes(100_000_000))
    lines = (b"Content-Encoding: gzip", b"Inference-Header-Content-Length: 10")
    wire.send(request(body, *lines, path=b"/v2/models/next-vector/infer"))
    refused(wire, 413, "too_large")


def test_bytes_beyond_the_declared_length_are_a_malformed_request(wire):
    """The first request is answered and the others are refused, in order."""
    wire.send(head(b"Content-Length: 3072", BINARY.strip()) + VECTOR + b"more than was said\r\n")
    assert wire.answer()[0] == 200
    closed(wire)


def test_a_length_over_the_limit_is_refused_unread(wire):
    """The declared length alone is enough for the error."""
    wire.send(head(b"Content-Length: 99999999999", BINARY.strip()))
    refused(wire, 413, "too_large")


def test_requests_in_a_row_are_answered_in_order(wire):
    """Pipelined predictions and other requests, valid and invalid."""
    get = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
    chunked = head(b"Transfer-Encoding: chunked", BINARY.strip())
    chunked += b"c00\r\n" + VECTOR + b"\r\n0\r\n\r\n"
    wire.send(
        request(VECTOR, b"X-Request-Id: 1")
        + get % b"/v2/health/live"
        + request(VECTOR[:5], b"X-Request-Id: 3")
        + get % b"/nowhere"
        + chunked
        + request(VECTOR, path=b"/v1/sessions/row/vectors?position=0")
        + request(VECTOR, path=b"/v1/sessions/row/vectors?position=1")
        + request(VECTOR, path=b"/v1/sessions/row/vectors?position=9")
        + b"rubbish\r\n\r\n"
    )
    answers = [wire.answer() for _ in range(8)]
    assert [answer[0] for answer in answers] == [200, 200, 400, 404, 200, 200, 200, 409]
    assert [answers[i][1]["x-request-id"] for i in (0, 2)] == ["1", "3"]
    assert [json.loads(answers[i][2])["length"] for i in (5, 6)] == [1, 2]
    closed(wire)


@pytest.mark.parametrize("line", [b"Connection: close", b"Connection: Keep-Alive, close"])
def test_a_connection_is_closed_on_request(wire, line):
    """The response says `Connection: close`, then the server closes."""
    wire.send(request(VECTOR, line) + request(VECTOR))
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    closed(wire)


def test_http_1_0_is_answered(wire):
    """HTTP/1.0 closes after each response."""
    wire.send(head(b"Content-Length: 3072", BINARY.strip(), version=b"HTTP/1.0") + VECTOR)
    assert wire.answer()[0] == 200
    closed(wire)


def test_an_offered_upgrade_is_ignored(wire):
    """Java's client offers an upgrade with its first request."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")
    for _ in range(2):
        wire.send(request(VECTOR, *offer))
        assert wire.answer()[0] == 200


def test_a_body_announced_with_expect_is_requested(wire):
    """`Expect: 100-continue`."""
    wire.send(head(b"Content-Length: 3072", b"Expect: 100-continue", BINARY.strip()))
    assert wire.incoming.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert wire.incoming.readline() == b"\r\n"
    wire.send(VECTOR)
    assert wire.answer()[0] == 200


def test_a_body_in_many_pieces_is_one_body(wire):
    """The request may be split at any byte."""
    data = request(VECTOR, b"Accept: application/octet-stream", b"X-Variant: stable")
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), 100):
        wire.send(data[start : start + 100])
    status, _, body = wire.answer()
    assert status == 200
    assert float(np.linalg.norm(np.frombuffer(body, "<f4"))) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("sent", [0, 10, 60, 3000])
def test_a_caller_that_closes_midway_is_dropped(wire, sent):
    """In the head or in the body; a half-closed connection counts as closed."""
    wire.send(request(VECTOR)[:sent])
    wire.socket.shutdown(socket.SHUT_WR)
    closed(wire)


@pytest.mark.parametrize("kind", ["fast path", "framework"])
def test_a_caller_that_leaves_while_requests_wait_in_its_pipeline_is_dropped(server, kind):
    """Whatever the running request does then, it is no fault: the log has no traceback."""
    reset = struct.pack("ii", 1, 0)
    context = VECTOR * 40
    chunked = head(b"Transfer-Encoding: chunked", BINARY.strip())
    chunked += b"%x\r\n%s\r\n0\r\n\r\n" % (len(context), context)
    single = request(context) if kind == "fast path" else chunked
    for _ in range(30):
        with closing(Wire(server)) as wire:
            wire.send(single * 5)
            assert wire.answer()[0] == 200
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    server.predict(unit_vectors(1, dim=768))
    assert "Traceback" not in server.log.read_text()


def test_a_stalled_body_times_out(impatient):
    """With a declared length, and chunked."""
    for data in (request(VECTOR)[:-1], head(b"Transfer-Encoding: chunked") + b"5\r\nhel"):
        with closing(Wire(impatient)) as wire:
            wire.send(data)
            refused(wire, 400, "body_timeout")
            closed(wire)
    impatient.predict(unit_vectors(1, dim=768))


def test_slow_heads_do_not_hold_connections(impatient):
    """Slowloris: hundreds of endless heads do not keep other callers from being served."""
    wires = [Wire(impatient) for _ in range(300)]
    for number, wire in enumerate(wires):
        # Nothing, line ends before a head, a piece of one, all of one but its end.
        wire.send([b"", b"\r\n", b"POST /v1/pre", head()[:-2]][number % 4])
    impatient.predict(unit_vectors(1, dim=768))
    for number, wire in enumerate(wires):
        if number % 4 > 1:
            refused(wire, 400, "head_timeout")
        closed(wire)
        wire.close()
    impatient.predict(unit_vectors(1, dim=768))


def test_pipelined_requests_in_large_reads_are_all_answered(wire):
    """A read over 64 KiB with whole requests and half of the next head: only that head counts."""
    body = np.concatenate([unit_vectors(20, dim=768)] * 2).astype("<f4").tobytes()
    whole = request(body, b"X-Filler: " + b"a" * 2000)
    data = whole * 12
    cut = len(whole) * 11 + 1000  # within the last head
    wire.send(data[:cut])
    wire.send(data[cut:])
    assert [wire.answer()[0] for _ in range(12)] == [200] * 12


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("digits", [b"0" * 4300, b"0" * 5000, b"0" * 30 + b"5"])
def test_a_length_of_thousands_of_digits_is_malformed(wire, method, digits):
    """Python refuses to convert so many digits: the request must not get that far."""
    wire.send(
        b"%s /v2/health/live HTTP/1.1\r\nHost: h\r\nContent-Length: %s\r\n\r\n" % (method, digits)
    )
    refused(wire, 400, "malformed")
    closed(wire)


@pytest.mark.parametrize(
    "vector",
    [
        np.full(768, 1.84e19, np.float32),
        np.array([1.84e19] + [0.036] * 767, np.float32),
        np.full(768, 3e38, np.float32),
        np.full(768, -1.1e6, np.float32),
    ],
)
def test_values_that_would_overflow_are_refused_on_every_route(wire, vector):
    """An input's fault is the caller's, on every route and in every form."""
    data = vector.tobytes()
    binary, lines = infer(3072, data)
    numbers = json.dumps([vector.tolist()]).encode()
    typed = b"Content-Type: application/json"
    requests = [
        request(data),
        request(data, path=b"/v1/sessions/large/vectors"),
        request(binary, *lines, path=b"/v2/models/next-vector/infer"),
    ]
    for path, field in ((b"/v1/predict", b"context"), (b"/v1/sessions/large/vectors", b"vectors")):
        body = b'{"%s": %s}' % (field, numbers)
        requests.append(head(b"Content-Length: %d" % len(body), typed, path=path) + body)
    for sent in requests:
        wire.send(sent)
        status, _, content = wire.answer()
        assert status == 422
        assert b"largest allowed absolute value is 1e+06" in content
