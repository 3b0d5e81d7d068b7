"""The shared PromQL expressions, and the syntax of every expression in deploy/."""

from __future__ import annotations

import promql_parser
import pytest

from deploy.grafana import promql
from tests.support.expressions import everything, filled

EVERYTHING = everything()


@pytest.mark.parametrize("expr", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_every_expression_of_dashboard_and_alerts_is_promql(expr):
    """As Grafana sends it, with its variables filled in."""
    promql_parser.parse(filled(expr))


def test_the_parser_refuses_what_is_not_promql():
    with pytest.raises(ValueError, match=r"unclosed|unexpected|invalid"):
        promql_parser.parse("sum by (variant (up)")


def test_a_quantile_is_grouped_by_its_labels_and_the_bucket():
    expected = (
        "histogram_quantile(0.5, sum by (variant, le) "
        '(rate(m_bucket{variant=~"stable|canary"}[$window])))'
    )

    assert expected == promql.quantile(0.5, "m")


def test_a_quantile_without_groups_keeps_the_bucket_only():
    assert "sum by (le)" in promql.quantile(0.95, "m", by="")


def test_a_request_rate_counts_requests_per_group():
    expected = 'sum by (outcome) (rate(nextvec_requests_total{outcome="ok"}[$window]))'

    assert expected == promql.request_rate('outcome="ok"', "outcome")


def test_the_ratio_divides_the_canarys_p95_by_stables():
    canary, stable = promql.P95_RATIO.split(" / ")

    assert (promql.CANARY_P95, promql.STABLE_P95) == (canary, stable)
    assert 'variant="canary"' in canary
    assert 'variant="stable"' in stable
