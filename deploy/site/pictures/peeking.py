"""How many healthy canaries a rule has rolled back by each minute, from `nextvec simulate`."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.site.pictures.canvas import BLUE, FAINT, ORANGE, RED, new_figure, styled

COLOURS = {"nextvec": BLUE, "P95 of 1 min": RED, "5 failures": ORANGE}


@styled
def draw(equal: dict[str, Any], slower: dict[str, Any]) -> Figure:
    """The picture of two `report.json` with `--compare`, at the ratios 1 and 1.1."""
    figure = new_figure(8.6, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    for place, report, title in (
        (axes[0], equal, "The canary is as fast as stable"),
        (axes[1], slower, "The canary is 10 % slower (limit 20 %)"),
    ):
        rows = report["rows"]
        for row in rows:
            shares = [100 * share for share in row["rolled_back_by_minute"]]
            colour = COLOURS[row["rule"]]
            place.plot(range(len(shares)), shares, color=colour, linewidth=2, clip_on=False)
        _label(place, rows)
        place.axhline(100 * report["settings"]["alpha"], color=FAINT, linestyle=":")
        place.set(xlabel="minutes with traffic", xlim=(0, 60), ylim=(-2, 103), title=title)
        place.grid(visible=True)
    axes[0].set_ylabel(f"rolled back, % of {equal['settings']['rollouts']:,} rollouts")
    return figure


def _label(place: Axes, rows: list[dict[str, Any]]) -> None:
    """Name each line at the right, where no line is: in the middle, or just above the axis."""
    high, low = 46.0, 4.0
    for row in sorted(rows, key=lambda row: row["rate"]):
        above = row["rate"] > 0.5
        place.text(
            59,
            high if above else low,
            f"{row['rule']}: {100 * row['rate']:.1f} %",
            color=COLOURS[row["rule"]],
            ha="right",
            fontweight="bold",
        )
        high, low = (high - 9, low) if above else (high, low + 9)
