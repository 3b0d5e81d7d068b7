"""Text is cut into pieces of 6 to 40 words, and no word is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sentences import LONGEST, SHORTEST, split_sentences

_WORDS = st.sampled_from(["the", "Union", "is,", "strong.", "No.", "U.S.", "yes;", "(why?)", "--"])


@given(st.lists(st.tuples(_WORDS, st.sampled_from([" ", "\n", "\n\n", "\t"])), max_size=300))
def test_every_word_is_kept_in_pieces_of_6_to_40(words: list[tuple[str, str]]) -> None:
    """Whatever the punctuation and the white space."""
    text = "".join(word + space for word, space in words)
    found = split_sentences(text)
    if len(words) >= SHORTEST:
        assert text.split() == " ".join(found).split()
    else:
        assert [] == found
    assert all(SHORTEST <= len(piece.split()) <= LONGEST for piece in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "One two three four five six. Seven eight nine ten eleven twelve!",
            ["One two three four five six.", "Seven eight nine ten eleven twelve!"],
        ),
        (
            "A heading\n\nIt is joined to the sentence after it.",
            ["A heading It is joined to the sentence after it."],
        ),
        (
            "The sentence before takes the last words. Thank you.",
            ["The sentence before takes the last words. Thank you."],
        ),
        (
            "Mr. Smith of the U.S. Senate spoke to us.",
            ["Mr. Smith of the U.S. Senate spoke to us."],
        ),
        (
            'He said: "We shall never give in." And then he went far away.',
            ['He said: "We shall never give in."', "And then he went far away."],
        ),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    """After a full stop that does not belong to an abbreviation; short sentences are joined."""
    assert expected == split_sentences(text)


def test_a_long_sentence_is_cut_at_the_comma_nearest_its_middle() -> None:
    """Not after a comma that is nearer to an end."""
    words = ["w"] * 50
    words[2] = words[27] = words[40] = "w,"
    assert [28, 22] == [len(piece.split()) for piece in split_sentences(" ".join(words))]


def test_a_long_sentence_without_commas_is_cut_in_the_middle() -> None:
    """Both halves have the same length."""
    assert [25, 25] == [len(piece.split()) for piece in split_sentences(" ".join(["w"] * 50))]
