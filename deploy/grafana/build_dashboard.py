"""Writes `dashboards/nextvec.json`: `python -m deploy.grafana.build_dashboard`.

Edit the dashboard in these modules and not in Grafana. A test compares the file with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import SOURCE
from deploy.grafana.promql import of_instances
from deploy.grafana.rows import engine, fleet, latency, quality, rollout, shadow, traffic, webhooks

OUTPUT = Path(__file__).parent / "dashboards" / "nextvec.json"

_WINDOWS = ("30s", "1m", "5m", "15m")
_DEFAULT_WINDOW = "1m"

_ROWS = {
    "Is the canary fit?": rollout.panels,
    "Latency": latency.panels,
    "Traffic and errors": traffic.panels,
    "Quality": quality.panels,
    "Engine": engine.panels,
}

_RARE_ROWS = {
    "Shadow step": shadow.panels,
    "Webhooks": webhooks.panels,
    "Fleet": fleet.panels,
}
"""Rows that are collapsed until somebody needs them."""

_ADDRESSES = {
    "console": ("Console", "http://127.0.0.1:8080/console"),
    "runbook": ("Runbook", "http://127.0.0.1:8000/how-to/runbook/"),
}
"""Variable → title and default of a link; `?var-console=…` replaces it."""


class PrometheusAnnotation(models.AnnotationQuery):
    """An annotation from a Prometheus query; the SDK's model lacks its three fields."""

    def __init__(self, name: str, expr: str, title: str, text: str, colour: str) -> None:
        super().__init__(
            name=name, datasource=SOURCE, icon_color=colour, built_in=None, expr=of_instances(expr)
        )
        self._title = title
        self._text = text

    def to_json(self) -> dict[str, object]:
        fields = {"step": "5s", "titleFormat": self._title, "textFormat": self._text}
        return {**super().to_json(), **fields}


class PrometheusAnnotationBuilder(Builder[models.AnnotationQuery]):
    """Gives a `PrometheusAnnotation` to the dashboard builder."""

    def __init__(self, annotation: PrometheusAnnotation) -> None:
        self._annotation = annotation

    def build(self) -> models.AnnotationQuery:
        return self._annotation


_ANNOTATIONS = (
    PrometheusAnnotation(
        "Rollout transitions",
        "increase(nextvec_rollout_transitions_total[15s]) > 0",
        "{{from}} → {{to}}",
        "{{reason}}",
        "purple",
    ),
    PrometheusAnnotation(
        "Guardrails",
        "increase(nextvec_guardrail_rollbacks_total[15s]) > 0",
        "{{guardrail}} failed",
        "The guardrail {{guardrail}} failed: the canary is rolled back.",
        "red",
    ),
    PrometheusAnnotation(
        "Model versions",
        "max by (stable, canary) (nextvec_rollout_info == 1)"
        " unless max by (stable, canary) (nextvec_rollout_info offset 15s == 1)",
        "Model versions",
        "stable {{stable}}, canary {{canary}}",
        "super-light-blue",
    ),
)


def build_dashboard() -> models.Dashboard:
    """The dashboard. Panels run from left to right, with an id each in that order."""
    builder = (
        dashboard.Dashboard("nextvec")
        .uid("nextvec")
        .description("Two versions of a next-vector model, and whether the new one is healthy.")
        .tags(["nextvec"])
        .version(1)
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("5s")
        .time("now-30m", "now")
        .timezone("browser")
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(models.VariableOption(text="Prometheus", value="prometheus"))
        )
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Instance")
            .description("One process or several of a fleet.")
            .datasource(SOURCE)
            .query("label_values(nextvec_rollout_info, instance)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(multi=True)
            .include_all(include_all=True)
            .all_value(".*")
            .current(models.VariableOption(text="All", value="$__all"))
        )
        .with_variable(
            dashboard.CustomVariable("window")
            .label("Window")
            .description("Percentiles and rates are computed over this time.")
            .values(",".join(_WINDOWS))
            .current(models.VariableOption(text=_DEFAULT_WINDOW, value=_DEFAULT_WINDOW))
            .options(
                [models.VariableOption(w == _DEFAULT_WINDOW, text=w, value=w) for w in _WINDOWS]
            )
        )
    )
    for name, (title, address) in _ADDRESSES.items():
        builder.with_variable(
            dashboard.TextBoxVariable(name)
            .label(title)
            .default_value(address)
            .current(models.VariableOption(text=address, value=address))
            .hide(models.VariableHide.HIDE_VARIABLE)
        )
        builder.link(
            dashboard.DashboardLink(title)
            .type(models.DashboardLinkType.LINK)
            .url(f"${{{name}}}")
            .icon("external link")
            .target_blank(target_blank=True)
        )
    for annotation in _ANNOTATIONS:
        builder.annotation(PrometheusAnnotationBuilder(annotation))
    for title, panels in _ROWS.items():
        builder.with_row(dashboard.Row(title))
        for panel in panels():
            builder.with_panel(panel)
    for title, panels in _RARE_ROWS.items():
        row = dashboard.Row(title).collapsed(collapsed=True)
        for panel in panels():
            row.with_panel(panel)
        builder.with_row(row)
    built = builder.build()
    for number, panel_or_row in enumerate(_with_nested(built.panels or []), start=1):
        panel_or_row.id_val = number
    return built


def _with_nested(
    panels: Iterable[models.Panel | models.RowPanel],
) -> Iterator[models.Panel | models.RowPanel]:
    """Every row and panel, in order; a collapsed row holds its panels itself."""
    for panel in panels:
        yield panel
        if isinstance(panel, models.RowPanel):
            yield from panel.panels


def render() -> str:
    """The dashboard's JSON file."""
    encoder = JSONEncoder(indent=2, ensure_ascii=False)
    return encoder.encode(build_dashboard()) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(render(), encoding="utf-8")
