"""`Accept`: which media type a response has (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from service.errors import NotAcceptable, quoted


@lru_cache(maxsize=256)
def choose(accept: str, offered: Sequence[str]) -> str:
    """Return the media type of `offered` that the caller prefers.

    The highest quality wins, then the more specific range of the caller, then the earlier
    of `offered`. Raises `NotAcceptable` if all of them have quality 0.
    """
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offered[0]  # an empty field accepts everything
    best, chosen = (0.0, 0), None
    for media_type in offered:
        specificity, quality = max(
            (
                (_specificity(media_range, media_type), quality)
                for media_range, quality in ranges
                if _specificity(media_range, media_type)
            ),
            default=(0, 0.0),
        )
        if quality and (quality, specificity) > best:
            best, chosen = (quality, specificity), media_type
    if chosen is None:
        raise NotAcceptable(f"Accept is {quoted(accept)}: accept {' or '.join(offered)}")
    return chosen


def _parse_range(text: str) -> tuple[str, float]:
    """Return a media range in lower case, and its quality; an invalid quality counts as 1."""
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, min(1.0, max(0.0, float(value)))
            except ValueError:
                break
    return media_range, 1.0


def _specificity(media_range: str, media_type: str) -> int:
    """Return how specifically the range names the type: 3, 2 or 1, or 0 if it does not."""
    if media_range == media_type:
        return 3
    if media_range == f"{media_type.partition('/')[0]}/*":
        return 2
    return 1 if media_range == "*/*" else 0
