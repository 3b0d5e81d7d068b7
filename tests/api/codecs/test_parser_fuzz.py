"""Parsers of bodies raise their own errors only, whatever the bytes.

`FUZZ_EXAMPLES` sets the number of examples; `make fuzz` raises it.
"""

from __future__ import annotations

import json
import os

import numpy as np
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.codecs import json_numbers, steps, tensors, vectors
from service.errors import NextvecError

DIM, MOST_ROWS = 3, 8

fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
numbers = st.integers() | st.floats() | st.integers(-1, 9) | st.just(2**63) | st.just(2**64)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def document(**fields):
    """JSON objects with some of `fields`, each of its strategy or of any value."""
    return st.fixed_dictionaries(
        {}, optional={name: kind | values for name, kind in fields.items()}
    )


rows = st.lists(st.lists(numbers, min_size=DIM, max_size=DIM), max_size=4)
tensor = document(
    name=st.just("vectors"),
    datatype=st.sampled_from(["FP32", "FP16", "INT64", "BYTES"]),
    shape=st.lists(numbers, max_size=4),
    data=rows,
    parameters=document(binary_data_size=numbers),
)
infer = document(
    id=st.text(max_size=4),
    inputs=st.lists(tensor, max_size=2),
    outputs=st.lists(document(name=st.just("next_vector")), max_size=2),
    parameters=document(
        sequence_id=numbers,
        sequence_start=st.booleans(),
        sequence_end=st.booleans(),
        timeout=numbers,
    ),
)
step = document(
    session=st.text(max_size=8), position=numbers, vector=st.lists(numbers, max_size=DIM)
)
frames = st.builds(
    lambda magic, count, body: magic + count.to_bytes(4, "little") + body,
    st.sampled_from([b"NVS1", b"NVS2"]),
    st.integers(0, 3) | st.just(2**32 - 1),
    st.binary(max_size=400),
)


def encoded(values_of):
    """As JSON with Python's extensions, `NaN` and integers of any size."""
    return values_of.map(lambda value: json.dumps(value).encode())


@fuzzed
@given(st.binary(max_size=200) | encoded(values))
def test_json_is_read_or_refused(content):
    try:
        found = json_numbers.loads(content, DIM, MOST_ROWS)
    except NextvecError:
        return
    assert orjson.loads(content) == found


@fuzzed
@given(encoded(infer), st.binary(max_size=100), st.integers(-3, 3))
def test_an_infer_request_is_read_or_refused(head, body, shift):
    content = head + body
    length = max(0, min(len(content), len(head) + shift))
    try:
        request = tensors.parse(content, length, DIM, MOST_ROWS)
    except NextvecError:
        return
    batch, count, dim = request.contexts.shape
    assert batch >= 1
    assert count >= 1
    assert dim == DIM
    assert batch * count <= MOST_ROWS
    assert request.contexts.dtype == np.float32


@fuzzed
@given(st.text(max_size=30) | st.just("0" * 4300), st.integers(0, 100))
def test_the_length_of_the_json_is_read_or_refused(header, size):
    try:
        length = tensors.json_length(header, size)
    except NextvecError:
        return
    assert 0 <= length <= size


@fuzzed
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", ""]))
def test_compressed_bodies_are_read_or_refused(content, encoding):
    try:
        plain = tensors.decompress(content, encoding, 1000)
    except NextvecError:
        return
    assert len(plain) <= 1000


@fuzzed
@given(frames)
def test_a_frame_of_steps_is_read_or_refused(content):
    try:
        found = steps.parse_frame(content, DIM, MOST_ROWS)
    except NextvecError:
        return
    assert len(found) <= MOST_ROWS


@fuzzed
@given(encoded(document(steps=st.lists(step, max_size=3))))
def test_steps_in_json_are_read_or_refused(content):
    try:
        found = steps.parse_json(content, DIM, MOST_ROWS)
    except NextvecError:
        return
    assert len(found) <= MOST_ROWS


@fuzzed
@given(st.binary(max_size=100))
def test_raw_vectors_are_read_or_refused(content):
    try:
        found = vectors.parse_binary(content, DIM)
    except NextvecError:
        return
    assert found.shape[1] == DIM
