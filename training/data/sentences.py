"""Splits text into sentences of 6 to 40 words, in order. Pure; no word is lost.

Natural sentences have from two to two hundred words. Short ones are joined to the next one, and
long ones are split at punctuation.
"""

from __future__ import annotations

import re

SHORTEST, LONGEST = 6, 40
"""Words in a sentence."""

_PARAGRAPH = re.compile(r"\n\s*\n")
_ENDS = re.compile(r"[.!?][\"'”’)\]]*$")
_ABBREVIATION = re.compile(
    r"^[\"'“‘(\[]*(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|"
    r"Mr|Mrs|Ms|Messrs|Dr|St|Gen|Gov|Hon|Jr|Sr|No|Nos|vs|viz)\.$"
)
_BREAK = re.compile(r"(?:[,;:]|--|[–—])[\"'”’)\]]*$")


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences of `SHORTEST` to `LONGEST` words, joined by single spaces.

    Empty for a text of fewer than `SHORTEST` words.
    """
    found: list[list[str]] = []
    waiting: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        for sentence in _sentences(paragraph.split()):
            waiting += sentence
            if len(waiting) >= SHORTEST:
                found += _split(waiting)
                waiting = []
    if waiting and found:
        found += _split(found.pop() + waiting)
    return [" ".join(words) for words in found]


def _sentences(words: list[str]) -> list[list[str]]:
    """Group words into natural sentences."""
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if _ENDS.search(word) and not _ABBREVIATION.match(word):
            found.append([])
    return [sentence for sentence in found if sentence]


def _split(words: list[str]) -> list[list[str]]:
    """Halve a sentence until no part is too long.

    Splits after the punctuation nearest to the middle, or in the middle if there is none. No
    part is too short.
    """
    if len(words) <= LONGEST:
        return [words]
    middle = len(words) / 2
    positions = range(SHORTEST, len(words) - SHORTEST + 1)
    commas = [at for at in positions if _BREAK.search(words[at - 1])]
    at = min(commas or positions, key=lambda position: abs(position - middle))
    return _split(words[:at]) + _split(words[at:])
