"""Numbers as the verdicts' messages show them. Pure."""

from __future__ import annotations


def format_seconds(value: float) -> str:
    """A duration: 170.1 ms, 1.25 s."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def format_share(share: float | None, digits: int = 1) -> str:
    """A share as a percentage: 14.7 %, 5 %; `unknown` for None."""
    if share is None:
        return "unknown"
    text = f"{100 * share:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def format_count(count: int, noun: str) -> str:
    """A count and its noun: 1 request, 2 requests."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
