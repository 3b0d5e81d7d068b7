"""Text to pieces of 6 to 40 words, in order. Pure; no word is lost.

A sentence is the natural step of a text, but some are two words long and some two
hundred: the short are joined to what follows, the long are cut where they breathe.
"""

from __future__ import annotations

import re

SHORTEST, LONGEST = 6, 40
"""Words in a piece."""

_PARAGRAPH = re.compile(r"\n\s*\n")
_ENDS = re.compile(r"[.!?][\"'”’)\]]*$")
_ABBREVIATION = re.compile(
    r"^[\"'“‘(\[]*(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|"
    r"Mr|Mrs|Ms|Messrs|Dr|St|Gen|Gov|Hon|Jr|Sr|No|Nos|vs|viz)\.$"
)
_BREATHES = re.compile(r"(?:[,;:]|--|[–—])[\"'”’)\]]*$")


def pieces(text: str) -> list[str]:
    """The text in pieces of `SHORTEST` to `LONGEST` words, joined by single spaces.

    None of a text of fewer than `SHORTEST` words.
    """
    found: list[list[str]] = []
    waiting: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        for sentence in _sentences(paragraph.split()):
            waiting += sentence
            if len(waiting) >= SHORTEST:
                found += _cut(waiting)
                waiting = []
    if waiting and found:
        found += _cut(found.pop() + waiting)
    return [" ".join(words) for words in found]


def _sentences(words: list[str]) -> list[list[str]]:
    """Words up to and with each one that ends a sentence: the next one begins anew."""
    found: list[list[str]] = [[]]
    for word in words:
        found[-1].append(word)
        if _ENDS.search(word) and not _ABBREVIATION.match(word):
            found.append([])
    return [sentence for sentence in found if sentence]


def _cut(words: list[str]) -> list[list[str]]:
    """In two, and those in two again, until none is too long: after the comma that is
    nearest the middle, or in the middle where there is none. Neither half is too short."""
    if len(words) <= LONGEST:
        return [words]
    middle = len(words) / 2
    places = range(SHORTEST, len(words) - SHORTEST + 1)
    commas = [at for at in places if _BREATHES.search(words[at - 1])]
    at = min(commas or places, key=lambda place: abs(place - middle))
    return _cut(words[:at]) + _cut(words[at:])
