"""The rollout's phases and what leads from one to the next."""

from __future__ import annotations

from matplotlib.figure import Figure

from deploy.site.pictures.boxes import DiagramBox, arrow, box
from deploy.site.pictures.canvas import BLUE, GREEN, INK, RED, bare_axes, new_figure
from service.rollout.state.events import Phase

EDGES: dict[tuple[Phase, Phase], str] = {
    (Phase.HEALTHY, Phase.PENDING): "start, undo",
    (Phase.ROLLED_BACK, Phase.PENDING): "start, retry, undo",
    (Phase.PENDING, Phase.WARMING_UP): "loaded",
    (Phase.PENDING, Phase.PROMOTING): "loaded, for an undo",
    (Phase.WARMING_UP, Phase.PROGRESSING): "warm",
    (Phase.PROGRESSING, Phase.PROGRESSING): "step passed:\nnext weight",
    (Phase.PROGRESSING, Phase.PROMOTING): "plan passed",
    (Phase.PROGRESSING, Phase.PAUSED): "needs approval, pause,\ndeadline, no data",
    (Phase.WARMING_UP, Phase.PAUSED): "pause,\nno data",
    (Phase.PAUSED, Phase.WARMING_UP): "resume",
    (Phase.PAUSED, Phase.PROGRESSING): "resume, promote",
    (Phase.PAUSED, Phase.PROMOTING): "promote the\nlast step",
    (Phase.PROMOTING, Phase.HEALTHY): "the canary is stable",
    (Phase.PENDING, Phase.ABORTING): "cannot load, gate",
    (Phase.WARMING_UP, Phase.ABORTING): "",
    (Phase.PROGRESSING, Phase.ABORTING): "",
    (Phase.PAUSED, Phase.ABORTING): "a guardrail fails, or abort",
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
    Phase.ABORTING: ((8.1, 0.75), "weight 0"),
    Phase.ROLLED_BACK: ((1.1, 0.75), "no rollout"),
}


def draw() -> Figure:
    """The diagram."""
    figure = new_figure(9.6, 4.6)
    axes = bare_axes(figure, 13.7, 6.4)
    edges = {Phase.HEALTHY: GREEN, Phase.ROLLED_BACK: RED, Phase.ABORTING: RED}
    at = {
        phase: box(axes, place, SIZE, phase.value, text, edge=edges.get(phase, BLUE))
        for phase, (place, text) in PLACES.items()
    }
    for source, target in EDGES:
        _edge(axes, at, source, target)
    return figure


def _edge(axes: object, at: dict[Phase, DiagramBox], source: Phase, target: Phase) -> None:
    text = EDGES[source, target]
    begin, end, bend, text_at, colour = _route(at, source, target)
    arrow(axes, begin, end, text, colour=colour, bend=bend, text_at=text_at)  # type: ignore[arg-type]


Route = tuple[tuple[float, float], tuple[float, float], float, tuple[float, float] | None, str]


def _route(at: dict[Phase, DiagramBox], source: Phase, target: Phase) -> Route:  # noqa: PLR0911 - one line an arrow
    """Begin, end, bend, place of the text, and colour of an arrow."""
    a, b = at[source], at[target]
    match source, target:
        case Phase.PROGRESSING, Phase.PROGRESSING:
            return (a.x + 0.5, a.top[1]), (a.x - 0.5, a.top[1]), 1.3, (a.x, a.top[1] + 0.8), INK
        case Phase.PENDING, Phase.PROMOTING:
            return a.top, (b.x - 0.3, b.top[1]), -0.16, (6.4, 6.15), INK
        case Phase.PROMOTING, Phase.HEALTHY:
            return (b.x, b.top[1]), (b.x, b.top[1]), 0, None, GREEN
        case Phase.PROGRESSING, Phase.PAUSED:
            return (a.x - 0.1, a.bottom[1]), (b.x + 0.5, b.top[1]), 0, (10.35, 3.95), INK
        case Phase.PAUSED, Phase.PROGRESSING:
            return (a.x + 0.1, a.top[1]), (b.x - 0.5, b.bottom[1]), 0, (8.05, 3.95), INK
        case Phase.WARMING_UP, Phase.PAUSED:
            return (a.x - 0.1, a.bottom[1]), (b.x - 0.75, b.top[1]), 0, (6.15, 3.95), INK
        case Phase.PAUSED, Phase.WARMING_UP:
            return (a.x - 0.35, a.top[1]), (b.x + 0.4, b.bottom[1]), 0, (7.35, 3.6), INK
        case Phase.PAUSED, Phase.PROMOTING:
            return a.right, (b.x - 0.3, b.bottom[1]), 0.12, (11.5, 3.1), INK
        case Phase.PENDING, Phase.ABORTING:
            return a.bottom, (b.left[0], b.y + 0.2), 0.1, (4.6, 2.3), RED
        case Phase.PROMOTING, Phase.ABORTING:
            return a.bottom, b.right, -0.3, (11.9, 1.6), RED
        case Phase.ROLLED_BACK, Phase.PENDING:
            return a.top, (b.x - 0.5, b.bottom[1]), 0, (1.55, 2.6), INK
        case _:
            return a.right, b.left, 0, None, INK
