"""The rollout's phases and what leads from one to the next."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.site.pictures.boxes import DiagramBox, arrow, box
from deploy.site.pictures.canvas import BLUE, GREEN, INK, RED, bare_axes, new_figure, styled
from service.rollout.state.events import Phase

EDGES: dict[tuple[Phase, Phase], str] = {
    (Phase.HEALTHY, Phase.PENDING): "start, undo",
    (Phase.ROLLED_BACK, Phase.PENDING): "start,\nretry,\nundo",
    (Phase.PENDING, Phase.WARMING_UP): "loaded",
    (Phase.PENDING, Phase.PROMOTING): "loaded, for an undo",
    (Phase.WARMING_UP, Phase.PROGRESSING): "warm",
    (Phase.PROGRESSING, Phase.PROGRESSING): "step passed:\nnext weight",
    (Phase.PROGRESSING, Phase.PROMOTING): "plan passed",
    (Phase.PROGRESSING, Phase.PAUSED): "approval,\npause,\ndeadline,\nno data",
    (Phase.WARMING_UP, Phase.PAUSED): "pause,\nno data",
    (Phase.PAUSED, Phase.WARMING_UP): "resume",
    (Phase.PAUSED, Phase.PROGRESSING): "resume, promote",
    (Phase.PAUSED, Phase.PROMOTING): "promote the\nlast step",
    (Phase.PROMOTING, Phase.HEALTHY): "the canary is stable",
    (Phase.PENDING, Phase.ABORTING): "cannot load, gate",
    (Phase.WARMING_UP, Phase.ABORTING): "",
    (Phase.PROGRESSING, Phase.ABORTING): "",
    (Phase.PAUSED, Phase.ABORTING): "",
    (Phase.PROMOTING, Phase.ABORTING): "abort",
    (Phase.ABORTING, Phase.ROLLED_BACK): "stable has all traffic",
}
"""Every pair of phases of which the second can follow the first, and why."""

SIZE = (1.75, 0.95)
PLACES = {
    Phase.HEALTHY: ((1.1, 4.9), "no rollout"),
    Phase.PENDING: ((3.9, 4.9), "the canary loads"),
    Phase.WARMING_UP: ((6.7, 4.9), "latency is not\njudged yet"),
    Phase.PROGRESSING: ((9.5, 4.9), "guardrails judge\nthe step"),
    Phase.PROMOTING: ((12.6, 4.9), "traffic follows"),
    Phase.PAUSED: ((8.1, 2.75), "the weight is held;\nguardrails go on"),
    Phase.ABORTING: ((8.1, 0.75), "a guardrail failed,\nor an abort"),
    Phase.ROLLED_BACK: ((1.1, 0.75), "no rollout"),
}


@styled
def draw() -> Figure:
    """The diagram."""
    figure = new_figure(9.6, 5.6)
    axes = bare_axes(figure, 13.7, 8.0)
    edges = {Phase.HEALTHY: GREEN, Phase.ROLLED_BACK: RED, Phase.ABORTING: RED}
    at = {
        phase: box(axes, place, SIZE, phase.value, text, edge=edges.get(phase, BLUE))
        for phase, (place, text) in PLACES.items()
    }
    for edge in EDGES:
        _edge(axes, at, edge)
    return figure


@dataclass(frozen=True, slots=True)
class ArrowPath:
    """Where an arrow leaves its first box and meets its second, and where its text stands.

    `begin` and `end` are a side of the box and the distance from that side's middle.
    """

    begin: tuple[str, float]
    end: tuple[str, float]
    text: tuple[float, float] | None = None
    bend: float = 0.0
    colour: str = INK


PATHS = {
    (Phase.HEALTHY, Phase.PENDING): ArrowPath(("right", 0), ("left", 0)),
    (Phase.ROLLED_BACK, Phase.PENDING): ArrowPath(("top", 0), ("bottom", -0.5), (1.75, 2.9)),
    (Phase.PENDING, Phase.WARMING_UP): ArrowPath(("right", 0), ("left", 0)),
    (Phase.PENDING, Phase.PROMOTING): ArrowPath(("top", 0), ("top", -0.4), (7.9, 7.05), -0.36),
    (Phase.WARMING_UP, Phase.PROGRESSING): ArrowPath(("right", 0), ("left", 0)),
    (Phase.PROGRESSING, Phase.PROGRESSING): ArrowPath(
        ("top", 0.5), ("top", -0.5), (9.5, 6.15), 1.1
    ),
    (Phase.PROGRESSING, Phase.PROMOTING): ArrowPath(("right", 0), ("left", 0)),
    (Phase.PROGRESSING, Phase.PAUSED): ArrowPath(("bottom", 0.2), ("top", 0.65), (9.7, 3.5)),
    (Phase.WARMING_UP, Phase.PAUSED): ArrowPath(("bottom", -0.3), ("top", -0.7), (6.62, 3.5)),
    (Phase.PAUSED, Phase.WARMING_UP): ArrowPath(("top", -0.4), ("bottom", 0.2), (7.95, 3.5)),
    (Phase.PAUSED, Phase.PROGRESSING): ArrowPath(("top", 0.4), ("bottom", -0.2), (8.25, 4.1)),
    (Phase.PAUSED, Phase.PROMOTING): ArrowPath(("right", 0), ("bottom", -0.3), (11.2, 2.75), 0.15),
    (Phase.PROMOTING, Phase.HEALTHY): ArrowPath(("top", 0.4), ("top", 0), (7.0, 7.7), 0.36, GREEN),
    (Phase.PENDING, Phase.ABORTING): ArrowPath(("bottom", 0), ("left", 0.2), (4.75, 2.1), 0.1, RED),
    (Phase.WARMING_UP, Phase.ABORTING): ArrowPath(
        ("bottom", -0.75), ("top", -0.6), colour=RED, bend=0.16
    ),
    (Phase.PROGRESSING, Phase.ABORTING): ArrowPath(
        ("bottom", 0.78), ("top", 0.6), colour=RED, bend=-0.3
    ),
    (Phase.PAUSED, Phase.ABORTING): ArrowPath(("bottom", 0), ("top", 0), colour=RED),
    (Phase.PROMOTING, Phase.ABORTING): ArrowPath(
        ("bottom", 0.2), ("right", 0), (12.3, 1.6), -0.3, RED
    ),
    (Phase.ABORTING, Phase.ROLLED_BACK): ArrowPath(("left", -0.2), ("right", -0.2), colour=RED),
}
"""The path of each edge."""


def _edge(axes: Axes, at: dict[Phase, DiagramBox], edge: tuple[Phase, Phase]) -> None:
    path = PATHS[edge]
    begin, end = _point(at[edge[0]], *path.begin), _point(at[edge[1]], *path.end)
    arrow(axes, begin, end, EDGES[edge], colour=path.colour, bend=path.bend, text_at=path.text)


def _point(found: DiagramBox, side: str, shift: float) -> tuple[float, float]:
    x, y = {
        "left": found.left,
        "right": found.right,
        "top": found.top,
        "bottom": found.bottom,
    }[side]
    return (x, y + shift) if side in {"left", "right"} else (x + shift, y)
