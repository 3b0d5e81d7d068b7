"""The query and the response's parsing, with literals."""

from __future__ import annotations

import json

import pytest

from service.rollout.analysis.sources.prometheus_api import EvidenceError
from service.rollout.analysis.sources.prometheus_response import (
    FAULT_METRIC,
    INFERENCE_METRIC,
    KEY_METRIC,
    REQUEST_METRIC,
    counters_query,
    parse_response,
)
from tests.support.prometheus_fakes import new_metrics, vector
from tests.support.rollout_fakes import EDGES


def test_the_query_asks_for_raw_counters_of_both_arms():
    query = counters_query('pha"se', "b", 'job="x"')
    assert 'variant="stable",version="pha\\"se",' in query
    assert 'variant="canary",version="b",' in query
    assert 4 == query.count(',job="x"}')
    for metric in (REQUEST_METRIC, FAULT_METRIC, INFERENCE_METRIC, KEY_METRIC):
        assert 2 == query.count(metric)
    assert "increase" not in query


VALID = vector({"one": new_metrics()})


def changed(change):
    """A valid response after `change` to its parsed form."""
    response = json.loads(VALID)
    change(response)
    return json.dumps(response).encode()


def first_value(value):
    return lambda response: response["data"]["result"][0].update(value=[1.7e9, value])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not a Prometheus server's response"),
        (b"<html>", "not a Prometheus server's response"),
        (b"[]", "not a Prometheus server's response"),
        (b"{}", "not a Prometheus server's response"),
        (b'{"status": "error", "error": "query timed out"}', "query timed out"),
        (
            changed(lambda r: r.update(warnings=["one store is down"])),
            "a partial result: one store",
        ),
        (changed(lambda r: r["data"].update(resultType="matrix")), "a matrix, not a vector"),
        (changed(first_value("NaN")), "a bucket of nan, which is not a count"),
        (changed(first_value("+Inf")), "a bucket of inf, which is not a count"),
        (changed(first_value("-1")), "a bucket of -1.0, which is not a count"),
        (changed(first_value("0.5")), "a bucket of 0.5, which is not a count"),
        (changed(first_value("7")), "buckets that decrease with le"),
        (changed(first_value("x")), "not a Prometheus server's response"),
        (changed(lambda r: r["data"]["result"].pop(3)), "buckets that differ from this service's"),
        (changed(lambda r: r["data"]["result"].append(r["data"]["result"][0])), "twice"),
        (changed(lambda r: r["data"]["result"][0]["metric"].pop("le")), "not a Prometheus"),
    ],
)
def test_an_invalid_response_is_an_error_with_its_reason(body, expected):
    with pytest.raises(EvidenceError, match=expected):
        parse_response(body, EDGES)
