"""Valid requests to mutate, and requests whose tensors are odd though their HTTP is valid."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any

import numpy as np
import orjson

_BINARY = "application/octet-stream"
_JSON = "application/json"
_STEP_ROW = np.dtype([("session", "S128"), ("position", "<i8")])

FLOATS = (0.0, -0.0, 1.0, 1e-45, 1e19, 1.84e19, 3.4e38, -3.4e38, np.nan, np.inf, -np.inf)
SIZES: tuple[Any, ...] = (
    0,
    1,
    2,
    3,
    -1,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    1.5,
    "3",
    None,
    True,
    [],
)


def request(
    method: str,
    target: str,
    body: bytes = b"",
    kind: str = _JSON,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a request that ends where its body does."""
    lines = [f"{method} {target} HTTP/1.1", "Host: fuzz"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def valid_requests(dim: int, model: str) -> list[bytes]:
    """One request for each way to call the service, small enough for mutations to hit its parts."""
    vectors = np.eye(2, dim, dtype="<f4")
    rows = [[round(value, 1) for value in row] for row in vectors.tolist()]
    tensor = {"name": "vectors", "datatype": "FP32", "shape": [2, dim]}
    infer = f"/v2/models/{model}/infer"
    binary = {**tensor, "parameters": {"binary_data_size": vectors.nbytes}}
    head = orjson.dumps(
        {"inputs": [binary], "parameters": {"sequence_id": 7, "sequence_start": True}}
    )
    frame = np.zeros(1, _STEP_ROW)
    frame["session"], frame["position"] = b"fuzz-steps", -1
    steps = b"NVS1\x01\x00\x00\x00" + frame.tobytes() + vectors[:1].tobytes()
    lengths = {"Inference-Header-Content-Length": str(len(head))}
    return [
        request("GET", "/v2/health/live"),
        request("GET", f"/v2/models/{model}"),
        request("GET", "/metrics", headers={"Accept-Encoding": "gzip"}),
        request("GET", "/v1/sessions/fuzz-1"),
        request("DELETE", "/v1/sessions/fuzz-1"),
        request("GET", "/admin/v1/rollout", headers={"Authorization": "Bearer nobody"}),
        request("POST", "/admin/v1/rollout", orjson.dumps({"canary": "x", "plan": {"steps": [1]}})),
        request("POST", "/v1/predict", orjson.dumps({"context": rows})),
        request("POST", "/v1/predict", vectors.tobytes(), _BINARY, {"X-Routing-Key": "k"}),
        request("POST", "/v1/sessions/fuzz-1/vectors?position=0", vectors.tobytes(), _BINARY),
        request(
            "POST", "/v1/sessions/fuzz-2/vectors", orjson.dumps({"vectors": rows, "position": 0})
        ),
        request("POST", "/v1/feedback", orjson.dumps({"request_id": "0" * 32, "vector": rows[0]})),
        request("POST", "/v1/steps", steps, _BINARY),
        request(
            "POST", "/v1/steps", orjson.dumps({"steps": [{"session": "s", "vector": rows[0]}]})
        ),
        request("POST", infer, orjson.dumps({"inputs": [{**tensor, "data": rows}]})),
        request("POST", infer, head + vectors.tobytes(), _BINARY, lengths),
        request("POST", infer, gzip.compress(head, mtime=0), headers={"Content-Encoding": "gzip"}),
        request("POST", "/v2/repository/index", b"{}"),
    ]


def odd_tensor_request(source: random.Random, dim: int, model: str) -> bytes:
    """A request whose HTTP is valid, and whose numbers, shapes or sizes may not be."""
    return source.choice((_odd_floats, _odd_infer, _odd_steps, _compressed))(source, dim, model)


def _odd_floats(source: random.Random, dim: int, _model: str) -> bytes:
    body = _vectors(source, source.choice((1, 1, 2, 5)), dim).tobytes()
    if source.random() < 0.3:
        body = body[: source.randint(0, len(body))]
    session = f"fuzz-{source.randrange(40)}"
    position = source.choice(("", "?position=0", "?position=1", f"?position={10**18}"))
    target = source.choice(("/v1/predict", f"/v1/sessions/{session}/vectors{position}"))
    accept = {"Accept": source.choice((_BINARY, _JSON, "*/*"))}
    return request("POST", target, body, _BINARY, accept)


def _odd_infer(source: random.Random, dim: int, model: str) -> bytes:
    vectors = _vectors(source, source.choice((1, 2, 4)), dim)
    tensor: dict[str, Any] = {
        "name": source.choice(("vectors",) * 6 + ("other", 1, None)),
        "datatype": source.choice(("FP32",) * 5 + ("FP16", "INT64", "BYTES", "fp32", 4)),
        "shape": source.choice(
            (
                [*vectors.shape],
                [1, *vectors.shape],
                [source.choice(SIZES), dim],
                [],
                [dim],
                [1] * 40,
            )
        ),
    }
    size = source.choice((vectors.nbytes, vectors.nbytes, source.choice(SIZES)))
    parameters: dict[str, Any] = {"binary_data_size": size}
    if source.random() < 0.2:
        tensor["data"] = source.choice(([1.0], [[1.0] * dim], [[[[]]]], ["x"], [10**400], {}))
    else:
        tensor["parameters"] = parameters
    document: dict[str, Any] = {
        "inputs": source.choice(([tensor],) * 4 + ([tensor] * 3, [], {}, [1]))
    }
    if source.random() < 0.5:
        document["parameters"] = {
            source.choice(("sequence_id", "sequence_start", "sequence_end", "timeout", "priority",
                           "routing_key", "binary_data_output")): source.choice((*SIZES, "x" * 300))
            for _ in range(source.randint(1, 3))
        }  # fmt: skip
    if source.random() < 0.3:
        document["outputs"] = source.choice(([{"name": "next_vector"}], [{"name": "x"}], [1], {}))
    head = _json(document)
    stated = source.choice((len(head),) * 6 + (0, len(head) - 1, len(head) + 1, 10**9))
    body = head + vectors.tobytes()
    headers = {"Inference-Header-Content-Length": str(stated)}
    return request("POST", f"/v2/models/{model}/infer", body, _BINARY, headers)


def _odd_steps(source: random.Random, dim: int, _model: str) -> bytes:
    count = source.choice((0, 1, 2, 9))
    rows = np.zeros(count, _STEP_ROW)
    rows["session"] = [
        source.choice((b"fuzz-steps-%d" % i, b"", b"\xff\xfe", b"a" * 128, b"a\x00b"))
        for i in range(count)
    ]
    rows["position"] = [source.choice((-1, 0, 1, -2, 2**63 - 1, -(2**63))) for _ in range(count)]
    stated = source.choice((count,) * 5 + (count + 1, 2**32 - 1))
    magic = source.choice((b"NVS1",) * 6 + (b"NVS2", b""))
    body = (
        magic
        + stated.to_bytes(4, "little")
        + rows.tobytes()
        + _vectors(source, count, dim).tobytes()
    )
    return request("POST", "/v1/steps", body, _BINARY, {"Accept": source.choice((_BINARY, _JSON))})


def _compressed(source: random.Random, dim: int, model: str) -> bytes:
    """Compressed bodies: whole, cut, repeated, mislabelled, and small ones that grow large."""
    rows = _vectors(source, 1, dim).tolist()
    tensor = {"name": "vectors", "datatype": "FP32", "shape": [1, dim], "data": rows}
    plain = source.choice((_json({"inputs": [tensor]}), b"[" * 200_000, b"0" * 40_000_000))
    name, packed = source.choice(
        (("gzip", gzip.compress(plain, 1, mtime=0)), ("deflate", zlib.compress(plain, 1)))
    )
    packed = source.choice((packed, packed[:-3], packed * 2, packed + b"x", packed[5:]))
    headers = {
        "Content-Encoding": source.choice((name, name, name, "gzip, gzip", "identity", "zstd"))
    }
    return request("POST", f"/v2/models/{model}/infer", packed, headers=headers)


def _vectors(source: random.Random, count: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    generator = np.random.default_rng(source.getrandbits(32))
    vectors = generator.standard_normal((count, dim), dtype=np.float32)
    for _ in range(source.choice((0, 1, 1, 3))):
        if count:
            vectors[source.randrange(count), source.randrange(dim)] = source.choice(FLOATS)
    if source.random() < 0.1:
        vectors[:] = source.choice(FLOATS)
    return vectors


def _json(value: object) -> bytes:
    """As JSON; integers beyond 64 bits and NaN are written as Python writes them."""
    return json.dumps(value).encode()
