"""Numbers as the verdicts' messages show them. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def format_seconds(value: float) -> str:
    """A duration: 170.1 ms, 1.25 s."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def format_share(share: float | None, digits: int = 1) -> str:
    """A share as a percentage: 14.7 %, 5 %; `unknown` for None."""
    if share is None:
        return "unknown"
    text = f"{100 * share:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def format_duration(seconds: float) -> str:
    """A duration in its two largest units: 4 s, 1 min 45 s, 2 h 30 min, 1 d 6 h."""
    whole = round(max(0.0, seconds))
    for size, unit, smaller, small in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def format_about(seconds: float) -> str:
    """A duration that is an estimate: 4 s, 90 s, 3 min, 2 h."""
    if seconds < 99.5:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.0f} h"


def format_value_seconds(value: float) -> str:
    """A latency to three digits: 7.31 ms, 103 ms, 1.25 s."""
    return f"{_three_digits(value * 1000)} ms" if value < 0.9995 else f"{_three_digits(value)} s"


def format_difference(ratio: float, to: str = "stable's") -> str:
    """A ratio to another value as a predicate: "is 4 % higher than stable's", "is 4.7 times
    stable's"."""
    percent = round(100 * (ratio - 1))
    if percent == 0:
        return f"is level with {to}"
    if percent >= 100:
        return f"is {format_times(ratio)} {to}"
    word = "higher" if percent > 0 else "lower"
    return f"is {abs(percent)} % {word} than {to}"


def format_allowed(limit: float, ratio: float) -> str:
    """The limit on a ratio, in the words in which `format_difference` has said the ratio: "up to
    20 % higher is allowed", "up to 1.2 times is allowed"."""
    percent = round(100 * (limit - 1), 1)
    if round(100 * (ratio - 1)) < 100 and percent < 100:
        return f"up to {percent:g} % higher is allowed"
    return f"up to {limit:.3g} times is allowed"


def compare_seconds(
    subject: str,
    value: float,
    other: float,
    limit: float,
    *,
    to: str = "stable's",
    scope: str = "",
    remark: str = "",
) -> tuple[str, str]:
    """How the duration `value` compares with the `other` one, in seconds, and with the `limit` of
    their ratio: a short clause, and one with both values and a `remark`.

    "P95 latency is 4 % higher than stable's (up to 20 % higher is allowed)".
    """
    ratio = value / other
    clause = f"{subject} {format_difference(ratio, to)}{scope}"
    values = f"{format_value_seconds(value)} against {format_value_seconds(other)}"
    allowed = format_allowed(limit, ratio)
    details = "; ".join(filter(None, (values, allowed, remark)))
    return f"{clause} ({allowed})", f"{clause} ({details})"


def format_times(ratio: float) -> str:
    """A factor: 1.2 times, 4.7 times, 12 times."""
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.2g} times"


def uncapitalised(label: str) -> str:
    """A label inside a sentence: error rate, P95 latency, Hit@5."""
    word = label.split(" ", 1)[0]
    plain = word.replace("'", "").isalpha() and word[1:].islower()
    return label[:1].lower() + label[1:] if plain else label


def join_words(words: Sequence[str]) -> str:
    """A list in a sentence: "a", "a and b", "a, b and c"."""
    *most, last = words or ("",)
    return f"{', '.join(most)} and {last}" if most else last


def _three_digits(value: float) -> str:
    return (
        f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    )


def format_count(count: int, noun: str, plural: str = "") -> str:
    """A count and its noun: 1 request, 2 requests. `plural` is for a noun without an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or f'{noun}s'}"
