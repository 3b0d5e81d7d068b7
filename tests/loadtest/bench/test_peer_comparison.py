"""Another server of the protocol: what is read of it, and the load that both get."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest import streams
from loadtest.bench.peer_comparison import (
    ModelMetadata,
    PeerComparison,
    infer_model,
    read_metadata,
)
from loadtest.generator.http_client import ClientError, HttpClient
from loadtest.generator.infer_caller import InferModel
from service.clock import SystemClock

DATA = streams.load(streams.SAMPLE)
INPUT = {"name": "x", "datatype": "FP32", "shape": [-1, -1, 768]}


@contextmanager
def peer(status=200, **documents):
    """A server of `documents` by path, which answers infer requests with `status`; its counts."""
    counts = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def do_GET(self):
            self.answer(200 if self.path in documents else 404, documents.get(self.path, {}))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = json.loads(body[: int(self.headers["Inference-Header-Content-Length"])])
            counts["sequence_id" in head["parameters"], head["inputs"][0]["shape"][-2]] += 1
            self.answer(status, {})

        def answer(self, code, document):
            content = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counts
    finally:
        server.shutdown()
        server.server_close()


def documents_of(*inputs, models=("m",), extensions=()):
    return {
        "/v2": {"name": "other", "extensions": list(extensions)},
        "/v2/models": {"models": list(models)},
        "/v2/models/m": {"name": "m", "inputs": list(inputs)},
    }


def test_a_server_with_one_model_says_all_that_is_needed():
    with peer(**documents_of(INPUT, extensions=["sequence"])) as (url, _):
        found = read_metadata(url, None)
    assert found == ModelMetadata("m", "x", (-1, -1, 768), sequences=True)


@pytest.mark.parametrize(
    ("documents", "model", "text"),
    [
        (documents_of(INPUT, models=("m", "n")), None, "--against-model"),
        (documents_of(INPUT), "n", "status 404"),
        ({}, "m", "status 404; is it an OIP server"),
        (documents_of(INPUT, {"name": "y", "datatype": "INT32"}), "m", "one FP32 input"),
        (documents_of(), "m", "inputs none"),
    ],
)
def test_a_server_that_cannot_take_the_load_is_refused(documents, model, text):
    with peer(**documents) as (url, _), pytest.raises(ClientError, match=text):
        read_metadata(url, model)


@pytest.mark.parametrize(
    ("shape", "wanted", "option"),
    [
        ((-1, -1, 768), ("1", "N", "768"), None),
        ((-1, 768), ("N", "768"), None),
        ((-1, -1), ("N", "768"), None),
        ((-1, -1, 768), ("N", "1", "768"), "N, 1, 768"),
    ],
)
def test_the_shape_comes_from_the_metadata_or_from_the_option(shape, wanted, option):
    found = ModelMetadata("m", "x", shape, sequences=False)
    client = HttpClient("http://127.0.0.1:1")
    assert infer_model(client, found, 768, option) == InferModel(client, "m", "x", wanted)


@pytest.mark.parametrize(
    ("shape", "option", "text"),
    [
        ((-1,), None, "--against-shape"),
        ((-1, 100), None, "--against-shape"),
        ((-1, 768), "1,768", "one N"),
        ((-1, 768), "N,x", "one N"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, option, text):
    found = ModelMetadata("m", "x", shape, sequences=False)
    with pytest.raises(ClientError, match=text):
        infer_model(HttpClient("http://127.0.0.1:1"), found, 768, option)


def compare(ours, theirs, *, sequences):
    models = [InferModel(HttpClient(url), "m", "x") for url in (ours, theirs)]
    comparison = PeerComparison(*models, DATA, SystemClock(), 0.9, (5,), sequences, (2,), (3,))
    return list(comparison.rows())


@pytest.mark.slow
def test_both_servers_get_the_same_load():
    with peer() as (ours, our_counts), peer() as (theirs, their_counts):
        rows = compare(ours, theirs, sequences=True)
    assert [row.what for row in rows][:2] == [
        "context of 5, 2 callers: nextvec",
        "context of 5, 2 callers: the other server",
    ]
    assert len(rows) == 4
    assert all(row.times.count > 0 and row.value > 0 for row in rows)
    assert set(our_counts) == set(their_counts) == {(False, 5), (True, 1)}


@pytest.mark.slow
def test_a_server_without_sequences_gets_none():
    with peer() as (ours, counts), peer() as (theirs, _):
        assert len(compare(ours, theirs, sequences=False)) == 2
    assert set(counts) == {(False, 5)}


def test_a_failed_request_ends_the_comparison():
    with peer() as (ours, _), peer(503) as (theirs, _), pytest.raises(ClientError, match="503"):
        compare(ours, theirs, sequences=False)
