"""Decides which rows run together and how many layers a launch covers. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

UNITS_PER_BLOCK = 16
"""Hidden units that one block of the kernel computes."""


def layers_per_launch(layers: int, hidden: int, multiprocessors: int) -> int:
    """The largest divisor of `layers` whose blocks are all resident at once.

    A block occupies a whole multiprocessor. Returns 0 if not even one layer fits.
    """
    blocks = hidden // UNITS_PER_BLOCK
    return next(
        (n for n in range(layers, 0, -1) if layers % n == 0 and n * blocks <= multiprocessors), 0
    )


def group_rows(lengths: Sequence[int], widths: Sequence[int]) -> list[list[int]]:
    """Split the rows of a batch into groups that run one after the other.

    The size of each group is one of `widths`, which must contain 1. Rows of similar length
    share a group, because a group takes as long as its longest row.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    groups = []
    while order:
        width = max(w for w in widths if w <= len(order))
        groups.append(order[:width])
        order = order[width:]
    return groups


def slices(time: int, first: int = 64, others: int = 256) -> list[slice]:
    """The slices in which the vectors of a context are copied to the device.

    The first is short, so that the kernel can start early.
    """
    ends = [*range(first, time, others), time]
    starts = [0, *ends]
    return [slice(start, end) for start, end in zip(starts, ends, strict=False)]
