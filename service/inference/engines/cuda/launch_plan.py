"""Which rows run together, and how many layers at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

UNITS_PER_BLOCK = 16
"""Hidden units that one block of the kernel computes."""


def layers_together(layers: int, hidden: int, multiprocessors: int) -> int:
    """How many layers one launch covers: the most whose blocks are all resident at once.

    A block fills a multiprocessor. Returns a divisor of `layers`, or 0 where not even one
    layer fits.
    """
    blocks = hidden // UNITS_PER_BLOCK
    return next(
        (n for n in range(layers, 0, -1) if layers % n == 0 and n * blocks <= multiprocessors), 0
    )


def group_rows(lengths: Sequence[int], widths: Sequence[int]) -> list[list[int]]:
    """The rows of a batch in groups that are run one after the other.

    Each group has one of `widths` rows (which contain 1). Rows of like lengths are put
    together, since a group takes as long as its longest row.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    groups = []
    while order:
        width = max(w for w in widths if w <= len(order))
        groups.append(order[:width])
        order = order[width:]
    return groups


def slices(time: int, first: int = 64, others: int = 256) -> list[slice]:
    """How the vectors of a context are sent: a short beginning, which the kernel starts on."""
    ends = [*range(first, time, others), time]
    starts = [0, *ends]
    return [slice(start, end) for start, end in zip(starts, ends, strict=False)]
