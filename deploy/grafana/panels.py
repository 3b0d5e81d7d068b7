"""Panels and queries with this dashboard's defaults, built with the Grafana Foundation SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.promql import of_instances

SOURCE = models.DataSourceRef("prometheus", "${datasource}")

HUES = {"stable": "blue", "canary": "orange"}
RED, GREEN, GREY = "red", "green", "#8e8e8e"

GUARDRAIL_COLOURS = {
    "latency": "purple",
    "inference": "yellow",
    "errors": "red",
    "quality": "green",
    "ceiling": "super-light-purple",
    "interference": "#3CB5B5",
    "shadow": GREY,
}
"""One colour a guardrail, wherever it is drawn. Blue and orange are the variants'."""

VARIANT_COLOURS = {
    "^(?!.*P(50|99)).*stable": HUES["stable"],
    "^(?!.*P(50|99)).*canary": HUES["canary"],
    "unassigned": GREY,
}

_HEIGHT = 8
_STAT_HEIGHT = 4
_SPAN_NULLS_MS = 15_000


class _PanelBuilder(Protocol):
    """The methods that the SDK's panel builders have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: models.DataSourceRef) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def color_scheme(self, color: Builder[models.FieldColor]) -> Self: ...
    def with_target(self, target: Builder[Any]) -> Self: ...
    def with_override(
        self, matcher: models.MatcherConfig, properties: list[models.DynamicConfigValue]
    ) -> Self: ...


PanelT = TypeVar("PanelT", bound=_PanelBuilder)


def query(expr: str, legend: str) -> prometheus.Dataquery:
    """A query over the dashboard's time range, for the chosen instances."""
    whole = of_instances(expr)
    return prometheus.Dataquery().datasource(SOURCE).expr(whole).legend_format(legend).range()


def traced_query(expr: str, legend: str) -> prometheus.Dataquery:
    """The same with exemplars: slow requests with their trace, where traces are on."""
    return query(expr, legend).exemplar(exemplar=True)


def instant_query(expr: str, legend: str) -> prometheus.Dataquery:
    """A query for the present value only."""
    return query(expr, legend).instant()


def time_series(
    title: str,
    span: int,
    description: str,
    queries: Sequence[prometheus.Dataquery],
    colours: Mapping[str, str] = VARIANT_COLOURS,
    *,
    from_zero: bool = True,
) -> timeseries.Panel:
    """Lines. `colours` maps a regular expression for series names to a colour.

    The y axis begins at 0 unless `from_zero` is False.
    """
    panel = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(0)
        .stacking(_stacking(common_models.StackingMode.NONE))
        .span_nulls(_SPAN_NULLS_MS)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if from_zero:
        panel.min(0)
    return _describe(panel, title, span, description, queries, colours)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Stack the areas of a time series panel."""
    return panel.stacking(_stacking(common_models.StackingMode.NORMAL)).fill_opacity(40)


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Durations of 10 ms and of 10 s on one axis."""
    panel.unit("s")
    return panel.scale_distribution(
        common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10)
    )


def dashed(panel: timeseries.Panel, pattern: str) -> timeseries.Panel:
    """Draw the series whose names match as dashed thin lines."""
    return panel.with_override(
        models.MatcherConfig("byRegexp", f"/{pattern}/"),
        [
            models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
            models.DynamicConfigValue("custom.lineWidth", 1),
        ],
    )


def banded(panel: timeseries.Panel, upper: str, lower: str) -> timeseries.Panel:
    """Fill the area between two series, given by their names."""
    return panel.with_override(
        models.MatcherConfig("byName", upper),
        [
            models.DynamicConfigValue("custom.fillBelowTo", lower),
            models.DynamicConfigValue("custom.fillOpacity", 20),
            models.DynamicConfigValue("custom.lineWidth", 0),
        ],
    ).with_override(
        models.MatcherConfig("byName", lower),
        [models.DynamicConfigValue("custom.lineWidth", 0)],
    )


def limited(panel: timeseries.Panel, limit: float) -> timeseries.Panel:
    """Draw a dashed line at `limit`; values above it are red."""
    style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(_thresholds(limit)).thresholds_style(style)


def stat_panel(
    title: str,
    span: int,
    description: str,
    queries: Sequence[prometheus.Dataquery],
    *,
    names: bool = False,
    colours: Mapping[str, str] | None = None,
) -> stat.Panel:
    """Large numbers, each with the name of its series if there are several; with `names` only
    the names. `colours` maps a regular expression for names to a colour.
    """
    text = common_models.BigValueTextMode.AUTO
    if names:
        text = common_models.BigValueTextMode.NAME
    elif len(queries) > 1:
        text = common_models.BigValueTextMode.VALUE_AND_NAME
    panel = _describe(stat.Panel(), title, span, description, queries, colours or {})
    panel.height(_STAT_HEIGHT).reduce_options(
        common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False)
    ).text_mode(text).graph_mode(common_models.BigValueGraphMode.NONE)
    mode = common_models.BigValueColorMode
    return panel.no_value("–").color_mode(mode.VALUE if colours else mode.NONE)


def word_panel(
    title: str, span: int, description: str, expr: str, words: Mapping[str, tuple[str, str]]
) -> stat.Panel:
    """A word on its colour: `words` maps the value of the label that `expr` keeps to both."""
    label = expr.partition("by (")[2].partition(")")[0]
    panel = stat_panel(
        title, span, description, [instant_query(expr, f"{{{{{label}}}}}")], names=True
    )
    for value, (word, colour) in words.items():
        panel.with_override(
            models.MatcherConfig("byRegexp", f"/^{value}$/"),
            [
                models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour}),
                models.DynamicConfigValue("displayName", word),
            ],
        )
    return panel.color_mode(common_models.BigValueColorMode.BACKGROUND)


def table_panel(title: str, span: int, description: str, expr: str) -> table.Panel:
    """A table of the present series of `expr`, without a header."""
    rows = instant_query(expr, "").format(PromQueryFormat.TABLE)
    panel = _describe(table.Panel(), title, span, description, [rows], {})
    link = dashboard.DashboardLink("Runbook").type(models.DashboardLinkType.LINK)
    panel.data_links([link.url("${runbook}").target_blank(target_blank=True)])
    return panel.height(_STAT_HEIGHT).show_header(show_header=False)


def heatmap_panel(title: str, span: int, description: str, expr: str) -> heatmap.Panel:
    """A heatmap of the buckets of `expr`, durations on the y axis."""
    buckets = query(expr, "{{le}}").format(PromQueryFormat.HEATMAP)
    panel = _describe(heatmap.Panel(), title, span, description, [buckets], {})
    return (
        panel.calculate(calculate=False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .cell_gap(0)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(64)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .mode(common_models.TooltipDisplayMode.SINGLE)
    )


def state_timeline(
    title: str,
    span: int,
    description: str,
    queries: Sequence[prometheus.Dataquery],
    colours: Mapping[str, str],
) -> statetimeline.Panel:
    """A row for each series, without values and legend."""
    panel = _describe(statetimeline.Panel(), title, span, description, queries, colours)
    return panel.show_value(common_models.VisibilityMode.NEVER).legend(
        common.VizLegendOptions().show_legend(show_legend=False)
    )


def _describe(
    panel: PanelT,
    title: str,
    span: int,
    description: str,
    queries: Iterable[prometheus.Dataquery],
    colours: Mapping[str, str],
) -> PanelT:
    """What every panel has: texts, place, data source, lettered queries, colours."""
    panel.title(title).description(description).datasource(SOURCE).span(span).height(_HEIGHT)
    panel.unit("short").color_scheme(
        dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC)
    )
    for letter, target in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(target.ref_id(letter))
    for pattern, colour in colours.items():
        panel.with_override(
            models.MatcherConfig("byRegexp", f"/{pattern}/"),
            [models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})],
        )
    return panel


def _stacking(mode: common_models.StackingMode) -> common.StackingConfig:
    return common.StackingConfig().mode(mode).group("A")


def _thresholds(limit: float) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(None, GREEN), models.Threshold(limit, RED)])
    )
