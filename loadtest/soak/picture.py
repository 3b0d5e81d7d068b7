"""The plot of a soak test: each measurement over time with its trend."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from loadtest.soak.run import WARM_UP_SHARE, SoakRun

_PANELS = {
    "rss_mb": "resident memory, MB",
    "descriptors": "open descriptors",
    "threads": "threads",
    "p95_ms": "P95 of all requests, ms",
}


def draw_soak(run: SoakRun, path: Path) -> None:
    """Write the plot to `path`."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    trends = run.trends()
    for axes, (name, label) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
        minutes = [sample.at / 60 for sample in run.samples]
        axes.plot(minutes, [getattr(sample, name) for sample in run.samples], linewidth=1)
        axes.axvspan(0, WARM_UP_SHARE * run.seconds / 60, color="#7f7f7f", alpha=0.15)
        unit = " %" if name == "p95_ms" else ""
        trend = trends.get("p95_percent" if name == "p95_ms" else name)
        if trend is not None:
            axes.set_title(
                f"growth {trend.growth:+.3g}{unit} [{trend.low:+.3g}, {trend.high:+.3g}]",
                fontsize=10,
            )
        axes.set(xlabel="minutes (grey: warm-up, not judged)", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
