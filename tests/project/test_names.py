"""Class names: each is defined once, and each is a noun."""

from __future__ import annotations

import ast
import re

from tests.support.sources import classes, modules, text

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


def words(name: str) -> set[str]:
    """`LatencyGuardrail`, `latency_guardrails` → latency, guardrail."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return {word.lower().removesuffix("s") for word in found}


def test_a_file_is_named_for_its_noun():
    """A module with one public class, and nothing else, has a word of its name."""
    assert {} == {
        str(file): public[0].name
        for file in modules()
        for body in [ast.parse(text(file)).body]
        for public in [[node for node in body if is_public(node)]]
        if len(public) == 1 and isinstance(public[0], ast.ClassDef)
        if not words(public[0].name) & words(file.stem)
    }


def is_public(node: ast.stmt) -> bool:
    """A class or function that other modules may use."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and not node.name.startswith("_")
