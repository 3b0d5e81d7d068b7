"""Compressed request bodies."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.codecs.tensors import decompress
from service.errors import Malformed, TooLarge, UnsupportedMediaType


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(content=st.binary(max_size=200))
def test_a_compressed_body_comes_back_as_it_was(encoding, content):
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    assert content == decompress(compress(content), encoding, 200)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_decompression_bomb_is_refused_before_it_expands(encoding):
    """100 MB of zeros compress to 100 KB."""
    compress = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    with pytest.raises(TooLarge):
        decompress(compress(bytes(100_000_000)), encoding, 1000)


@pytest.mark.parametrize(
    ("content", "encoding", "error"),
    [
        (b"not compressed", "gzip", Malformed),
        (b"not compressed", "deflate", Malformed),
        (b"", "gzip", Malformed),
        (gzip.compress(b"x" * 99, mtime=0)[:-9], "gzip", Malformed),
        (gzip.compress(b"x", mtime=0) + b"more", "gzip", Malformed),
        (gzip.compress(b"x", mtime=0) * 2, "gzip", Malformed),
        (zlib.compress(b"x"), "gzip", Malformed),
        (b"x", "br", UnsupportedMediaType),
        (gzip.compress(b"x", mtime=0), "gzip, gzip", UnsupportedMediaType),
    ],
)
def test_what_is_not_so_compressed_is_refused(content, encoding, error):
    with pytest.raises(error):
        decompress(content, encoding, 1000)
