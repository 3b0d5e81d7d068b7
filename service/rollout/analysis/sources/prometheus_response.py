"""The query for both arms' counters, and the counts in a Prometheus server's response. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from service.rollout.analysis.sources.prometheus_api import EvidenceError
from service.types import FAULTS, SHARES, Variant

REQUEST_METRIC = "nextvec_request_duration_seconds_bucket"
INFERENCE_METRIC = "nextvec_inference_duration_seconds_bucket"
FAULT_METRIC = "nextvec_requests_total"
KEY_METRIC = "nextvec_online_key_share_bucket"

_OWN_LABELS = frozenset({"__name__", "variant", "version", "mode", "outcome", "le"})
_FAULTS_ONLY = f',outcome=~"{"|".join(FAULTS)}"'

Target = frozenset[tuple[str, str]]
"""The labels that identify a scraped process: job, instance and what the server adds."""

Series = tuple[str, str, str, str]
"""Metric, variant, mode and outcome; "" for a label that the metric does not have."""

Reading = dict[Target, dict[Series, tuple[int, ...]]]
"""Counts since the target's start, by bucket, not cumulative over buckets."""


def counters_query(stable: str, canary: str, matchers: str) -> str:
    """The query for both arms' buckets of requests, inference and keys, and their faults."""
    # One selector for all buckets of an arm: `or` ignores a series' name, so it would drop
    # the buckets of inference, whose labels equal those of the requests.
    return " or ".join(
        selector
        for variant, version in ((Variant.STABLE, stable), (Variant.CANARY, canary))
        for selector in (
            _selector(
                (REQUEST_METRIC, INFERENCE_METRIC, KEY_METRIC), "", variant, version, matchers
            ),
            _selector((FAULT_METRIC,), _FAULTS_ONLY, variant, version, matchers),
        )
    )


def stable_query(stable: str, matchers: str) -> str:
    """The query for the buckets of stable's requests, and for its faults."""
    return " or ".join(
        _selector((metric,), outcomes, Variant.STABLE, stable, matchers)
        for metric, outcomes in ((REQUEST_METRIC, ""), (FAULT_METRIC, _FAULTS_ONLY))
    )


def parse_response(body: bytes, edges: Sequence[float]) -> Reading:
    """The counts in the response to an instant query. Raises `EvidenceError`."""
    try:
        response = json.loads(body)
        if response["status"] != "success":
            raise EvidenceError(f"Prometheus rejected the query: {response.get('error', response)}")
        if response.get("warnings"):
            raise EvidenceError(f"Prometheus returned a partial result: {response['warnings'][0]}")
        kind = response["data"]["resultType"]
        if kind != "vector":
            raise EvidenceError(f"Prometheus returned a {kind}, not a vector")
        cumulative = _buckets_by_series(response["data"]["result"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise EvidenceError(f"this is not a Prometheus server's response: {error!r}") from error
    reading: Reading = {}
    for (target, series), buckets in cumulative.items():
        reading.setdefault(target, {})[series] = _counts(target, series, buckets, edges)
    return reading


def require_both_arms(reading: Reading, stable: str, canary: str) -> None:
    """Raise `EvidenceError` unless both arms have series.

    An arm without series is not an arm without requests: the service creates all at 0.
    """
    present = {(metric, variant) for series in reading.values() for metric, variant, _, _ in series}
    for variant, version in ((Variant.STABLE, stable), (Variant.CANARY, canary)):
        for metric in (REQUEST_METRIC, FAULT_METRIC, INFERENCE_METRIC):
            if (metric, variant.value) not in present:
                raise EvidenceError(
                    f"Prometheus has no {metric} for {variant.value} {version}; does it scrape "
                    "the service at least once per analysis interval, and does "
                    "rollout.prometheus_matchers match?"
                )


def _selector(
    metrics: Sequence[str], outcomes: str, variant: Variant, version: str, matchers: str
) -> str:
    more = f",{matchers}" if matchers else ""
    names = "|".join(metrics)
    # PromQL strings use Go's escapes, which include JSON's.
    return (
        f'{{__name__=~"{names}",variant="{variant.value}",version={json.dumps(version)}'
        f"{outcomes}{more}}}"
    )


def _buckets_by_series(result: Sequence[Any]) -> dict[tuple[Target, Series], dict[float, float]]:
    """Cumulative counts by upper bucket edge."""
    found: dict[tuple[Target, Series], dict[float, float]] = {}
    for sample in result:
        labels: Mapping[str, str] = sample["metric"]
        target = frozenset(item for item in labels.items() if item[0] not in _OWN_LABELS)
        metric = labels["__name__"]
        mode = "" if metric == KEY_METRIC else labels["mode"]
        outcome = labels["outcome"] if metric == FAULT_METRIC else ""
        series = (metric, labels["variant"], mode, outcome)
        buckets = found.setdefault((target, series), {})
        # A counter is read as a histogram of one bucket.
        edge = math.inf if metric == FAULT_METRIC else float(labels["le"])
        if edge in buckets:
            raise EvidenceError(
                f"{_series_name(target, series)} has the bucket le={edge:g} twice; do all "
                "replicas run the same release?"
            )
        buckets[edge] = float(sample["value"][1])
    return found


def _counts(
    target: Target, series: Series, buckets: Mapping[float, float], edges: Sequence[float]
) -> tuple[int, ...]:
    """The differences of the cumulative buckets, which must be those that the service writes."""
    expected = [*_finite_edges(series[0], edges), math.inf]
    actual = sorted(buckets)
    if len(actual) != len(expected) or not all(
        math.isclose(a, b, rel_tol=1e-9) for a, b in zip(actual, expected, strict=True)
    ):
        raise EvidenceError(
            f"{_series_name(target, series)} has {len(actual)} buckets that differ from this "
            f"service's {len(expected)}; do all replicas run the same version with the same "
            "limits.timeout_seconds?"
        )
    values = [buckets[edge] for edge in actual]
    for value in values:
        if not (math.isfinite(value) and value >= 0 and value == int(value)):
            raise EvidenceError(
                f"{_series_name(target, series)} has a bucket of {value}, which is not a count"
            )
    if any(b < a for a, b in pairwise(values)):
        raise EvidenceError(f"{_series_name(target, series)} has buckets that decrease with le")
    return tuple(int(b - a) for a, b in pairwise([0.0, *values]))


def _finite_edges(metric: str, edges: Sequence[float]) -> Sequence[float]:
    if metric == FAULT_METRIC:
        return ()
    return SHARES if metric == KEY_METRIC else edges


def _series_name(target: Target, series: Series) -> str:
    where = dict(target).get("instance", "a target without an instance label")
    return f"{where}: {'/'.join(series)}"
