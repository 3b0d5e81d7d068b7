"""A version runs in the fastest precision that is close to fp32, or in the requested one."""

from __future__ import annotations

import pytest

from service.errors import VersionError
from service.inference.engines.precision import choose
from service.manifest import Drift, PrecisionInfo, SessionHits
from tests.support.fakes import manifest_of

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def carrying(**cosines):
    """The manifest of a version with these precisions and their cosines with fp32."""
    hits = SessionHits(stream_sha256="0" * 64, steps=9, pool=5, seed=0, hit_at_5=0.5)
    built = {"fp32": PrecisionInfo(hits=hits)}
    for precision, cosine in cosines.items():
        drift = Drift(steps=9, min_cosine=cosine, worst_step=1, mean_cosine=cosine, provider=CPU)
        built[precision] = PrecisionInfo(drift=drift, hits=hits)
    return manifest_of("phase-3", 8, "0" * 64).model_copy(update={"precisions": built})


@pytest.mark.parametrize(
    ("wanted", "provider", "cosines", "expected"),
    [
        ("auto", CPU, {"int8": 0.99995}, "int8"),
        ("auto", CPU, {"int8": 0.9999}, "int8"),
        ("auto", CPU, {"int8": 0.99989}, "fp32"),
        ("auto", CPU, {}, "fp32"),
        ("auto", CPU, {"fp16": 1.0}, "fp32"),
        ("auto", CUDA, {"int8": 1.0, "fp16": 0.99999}, "fp16"),
        ("auto", CUDA, {"int8": 1.0, "fp16": 0.999}, "fp32"),
        ("auto", "SomeExecutionProvider", {"int8": 1.0, "fp16": 1.0}, "fp32"),
        ("int8", CPU, {"int8": 0.995}, "int8"),
        ("fp16", CUDA, {"fp16": 0.995}, "fp16"),
        ("fp32", CPU, {"int8": 1.0}, "fp32"),
    ],
)
def test_auto_takes_the_fastest_near_precision(wanted, provider, cosines, expected):
    assert expected == choose(carrying(**cosines), wanted, provider)


@pytest.mark.parametrize(
    ("wanted", "provider", "cosines", "message"),
    [
        ("int8", CPU, {}, "has only fp32; export it with --int8"),
        ("fp16", CUDA, {"int8": 1.0}, "has only fp32, int8; export it with --fp16"),
        ("fp16", CPU, {"fp16": 1.0}, "is not faster on CPUExecutionProvider; set auto or fp32"),
        ("int8", CUDA, {"int8": 1.0}, "is not faster on CUDA.*; set auto or fp32 or fp16"),
    ],
)
def test_an_impossible_precision_is_refused_with_alternatives(wanted, provider, cosines, message):
    with pytest.raises(VersionError, match=message):
        choose(carrying(**cosines), wanted, provider)


def test_a_version_of_an_older_export_runs_in_fp32():
    """Its manifest lists no precisions."""
    manifest = manifest_of("phase-3", 8, "0" * 64)
    assert "fp32" == choose(manifest, "auto", CPU)
    with pytest.raises(VersionError, match="has only fp32"):
        choose(manifest, "int8", CPU)
