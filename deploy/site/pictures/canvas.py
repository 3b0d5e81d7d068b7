"""An SVG that follows the reader's light or dark mode.

matplotlib draws with marker colours. Afterwards each marker becomes a CSS variable, which a media
query sets. The picture brings its own background, so that it is readable on any page.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, PAPER = "#100001", "#100002", "#100003"
BLUE, RED, ORANGE, GREEN, FILL = "#100004", "#100005", "#100006", "#100007", "#100008"

PALETTE = {
    INK: ("ink", "#1f2328", "#e6edf3"),
    FAINT: ("faint", "#8c959f", "#7d8590"),
    PAPER: ("paper", "#ffffff", "#161b22"),
    BLUE: ("blue", "#0969da", "#58a6ff"),
    RED: ("red", "#cf222e", "#ff7b72"),
    ORANGE: ("orange", "#9a6700", "#e3b341"),
    GREEN: ("green", "#1a7f37", "#56d364"),
    FILL: ("fill", "#eef3f8", "#21262d"),
}
"""Marker colour: its name, and its value in light and in dark mode."""

STYLE: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "nextvec",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": PAPER,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}

MAX_BYTES = 100_000
"""The largest picture of the documentation."""


class PictureSizeError(Exception):
    """A picture is larger than `MAX_BYTES`."""


T = TypeVar("T", bound=Callable[..., Any])


def styled(draw: T) -> T:
    """Decorate a function that draws: it runs in the documentation's style."""
    return mpl.rc_context(STYLE)(draw)


def new_figure(width: float, height: float) -> Figure:
    """A figure of `width` × `height` inches, for a `styled` function."""
    return Figure(figsize=(width, height), layout="constrained")


def bare_axes(figure: Figure, width: float, height: float) -> Axes:
    """Axes without a frame for a diagram, in units of the caller's from (0, 0)."""
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return axes


def save(figure: Figure, path: Path) -> None:
    """Write the figure as SVG. Raises `PictureSizeError`."""
    text = render(figure)
    if len(text.encode()) > MAX_BYTES:
        raise PictureSizeError(f"{path} would have {len(text.encode())} bytes, over {MAX_BYTES}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@styled
def render(figure: Figure) -> str:
    """The figure as SVG with CSS variables in place of the marker colours."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    for marker, (name, _, _) in PALETTE.items():
        text = text.replace(marker, f"var(--{name})")
    light, dark = (
        "".join(f"--{name}:{values[mode]};" for name, *values in PALETTE.values())
        for mode in (0, 1)
    )
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    head, tag, rest = text.partition("<defs>")
    return f"{head}{style}{tag}{rest}"
