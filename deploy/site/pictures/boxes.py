"""Boxes and arrows of the diagrams."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from deploy.site.pictures.canvas import FAINT, FILL, INK


@dataclass(frozen=True, slots=True)
class DiagramBox:
    """A box with its middle at (`x`, `y`), in the units of the axes."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> tuple[float, float]:
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x, self.y - self.height / 2


def box(
    axes: Axes,
    at: tuple[float, float],
    size: tuple[float, float],
    title: str,
    text: str = "",
    *,
    edge: str = FAINT,
) -> DiagramBox:
    """Draw a box with a bold title and a line or two of text below it."""
    made = DiagramBox(*at, *size)
    axes.add_patch(
        FancyBboxPatch(
            (made.x - made.width / 2, made.y - made.height / 2),
            made.width,
            made.height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=FILL,
            edgecolor=edge,
            linewidth=1.4,
        )
    )
    lines = text.count("\n") + 1 if text else 0
    axes.text(
        made.x, made.y + 0.13 * lines, title, ha="center", va="center", weight="bold", color=INK
    )
    if text:
        axes.text(made.x, made.y - 0.17, text, ha="center", va="center", fontsize=8, color=INK)
    return made


def arrow(
    axes: Axes,
    begin: tuple[float, float],
    end: tuple[float, float],
    text: str = "",
    *,
    colour: str = INK,
    bend: float = 0.0,
    text_at: tuple[float, float] | None = None,
) -> None:
    """Draw an arrow with its text beside the middle, or at `text_at`."""
    axes.add_patch(
        FancyArrowPatch(
            begin,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            color=colour,
            linewidth=1.3,
            shrinkA=2,
            shrinkB=2,
            connectionstyle=f"arc3,rad={bend}",
        )
    )
    if text:
        x, y = text_at or ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2 + 0.14)
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
