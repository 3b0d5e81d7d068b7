"""The way of a prediction through the service, and of its latency to the weight."""

from __future__ import annotations

from itertools import pairwise

from matplotlib.figure import Figure

from deploy.site.pictures.boxes import arrow, box
from deploy.site.pictures.canvas import BLUE, GREEN, ORANGE, bare_axes, new_figure, styled

REQUEST = (
    ("Parse", "bytes become\nfloat32 rows"),
    ("Route", "the key's hash\npicks a variant"),
    ("Plan", "one step, or\nrecompute"),
    ("Schedule", "the free engine\ntakes what waits"),
    ("Run", "ONNX Runtime\nor GPU kernels"),
    ("Commit", "state, vector,\nprediction"),
    ("Record", "duration into\na histogram"),
)
ANALYSIS = (
    ("Read", "counts since\nthe last run"),
    ("Judge", "each guardrail's\nln E"),
    ("Decide", "next phase\nand weight"),
    ("Execute", "traffic first\nwhen it falls"),
)
WIDTH, GAP = 1.62, 0.36


@styled
def draw() -> Figure:
    """The diagram: requests in the upper row, the analysis below, from right to left."""
    figure = new_figure(9.6, 3.6)
    axes = bare_axes(figure, 14.1, 4.9)
    upper = [
        box(axes, (1.0 + i * (WIDTH + GAP), 3.6), (WIDTH, 1.1), title, text, edge=BLUE)
        for i, (title, text) in enumerate(REQUEST)
    ]
    last = len(REQUEST) - 1
    lower = [
        box(axes, (upper[last - i].x, 1.1), (WIDTH, 1.1), title, text, edge=ORANGE)
        for i, (title, text) in enumerate(ANALYSIS)
    ]
    for a, b in pairwise(upper):
        arrow(axes, a.right, b.left)
    for a, b in pairwise(lower):
        arrow(axes, a.left, b.right)
    arrow(axes, upper[-1].bottom, lower[0].top)
    end = lower[-1]
    arrow(axes, end.left, upper[1].bottom, colour=GREEN, bend=-0.25)
    axes.text(3.2, 1.3, "new weight", color=GREEN, fontsize=9, ha="center")
    axes.text(0.2, 4.55, "every request", color=BLUE, weight="bold")
    axes.text(13.9, 0.15, "every 15 seconds", color=ORANGE, weight="bold", ha="right")
    return figure
