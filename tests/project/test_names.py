"""Class names: each is defined once, and each is a noun."""

from __future__ import annotations

import re

from tests.support.sources import classes

NOT_NOUNS = {
    *("Answered", "Applied", "Asking", "Begin", "Carried", "Counted", "Cut", "Drawn", "Due"),
    *("Failed", "Folded", "Followed", "Frozen", "Given", "Gone", "Kept", "Known", "Lessons"),
    *("Made", "MoreErrors", "Over", "Past", "Place", "Played", "Prepared", "Read", "Recorded"),
    *("Said", "Scored", "Scoring", "Seen", "Sent", "Shadowed", "Slower", "SlowTest", "Taken"),
    *("Told", "What", "Worse", "Wrapped"),
    *("Broken", "Doomed", "Keeps", "Killed", "Loaded", "Malformed", "Off", "Short", "Slow"),
}
"""Participles, adjectives and riddles. Other names in -ed and -ing are refused as well."""

NOUNS = {"Embedding", "Ending", "Feed", "Ring", "Seed", "Setting", "Speed", "String", "Timing"}
"""Nouns that end in -ed or -ing."""


def last_word(name: str) -> str:
    """`LatencyGuardrail` → `Guardrail`."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", name)[-1]


def test_a_class_name_is_defined_once():
    """In the tests as well: a fake has another name than what it replaces."""
    assert {} == {
        name: [str(file) for file in defined]
        for name, defined in classes(tests=True).items()
        if len(defined) > 1
    }


def test_the_last_word_of_a_name_is_found():
    assert ["Guardrail", "GRU", "Recorded"] == [
        last_word(name) for name in ("LatencyGuardrail", "MemoryAugmentedGRU", "Recorded")
    ]


def refused(name: str) -> bool:
    word = last_word(name)
    return name in NOT_NOUNS or (word.endswith(("ed", "ing")) and word not in NOUNS)


def is_exception(name: str, defined) -> bool:
    """Exceptions have the names of HTTP and gRPC statuses, such as DeadlineExceeded."""
    return defined[0].name == "errors.py" or name.endswith("DeadlineExceeded")


def test_classes_are_nouns():
    assert {} == {
        name: [str(file) for file in defined]
        for name, defined in classes(tests=True).items()
        if refused(name) and not is_exception(name, defined)
    }
