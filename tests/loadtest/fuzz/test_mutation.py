"""Mutated requests."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.fuzz.exchange import STATUS_LINE, pieces
from loadtest.fuzz.mutation import MUTATORS, chunk_body, mutate
from loadtest.fuzz.requests import odd_tensor_request, valid_requests

pytestmark = pytest.mark.slow

SEEDS = valid_requests(4, "m")


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
@given(st.integers(), st.sampled_from([*SEEDS, b"", b"x", b"\r\n\r\n"]))
def test_a_mutator_takes_any_bytes(mutator, seed, data):
    assert isinstance(mutator(random.Random(seed), data), bytes)


@given(st.integers())
def test_an_input_depends_on_the_seed_alone(seed):
    assert mutate(random.Random(seed), SEEDS) == mutate(random.Random(seed), SEEDS)
    assert odd_tensor_request(random.Random(seed), 4, "m") == odd_tensor_request(
        random.Random(seed), 4, "m"
    )


def test_many_inputs_differ():
    source = random.Random(1)
    assert len({mutate(source, SEEDS) for _ in range(500)}) > 350


def test_valid_requests_state_the_length_of_their_body():
    for data in SEEDS:
        head, _, body = data.partition(b"\r\n\r\n")
        if b"Content-Length" in head:
            assert b"Content-Length: %d" % len(body) in head


def test_chunks_replace_the_length():
    data = chunk_body(random.Random(3), SEEDS[8])
    assert b"content-length" not in data.lower()
    assert b"Transfer-Encoding: chunked" in data


@given(st.binary(max_size=100), st.integers())
def test_pieces_are_the_whole_input(data, seed):
    assert data == b"".join(pieces(data, random.Random(seed)))


def test_statuses_are_read_from_a_pipeline():
    received = b"HTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 404 Not Found\r\n\r\n"
    assert [b"200", b"404"] == STATUS_LINE.findall(received)


def test_floats_of_a_tensor_request_are_not_all_finite():
    source = random.Random(0)
    bodies = [odd_tensor_request(source, 4, "m").partition(b"\r\n\r\n")[2] for _ in range(300)]
    whole = [body for body in bodies if len(body) == 16]
    assert any(not np.isfinite(np.frombuffer(body, "<f4")).all() for body in whole)
