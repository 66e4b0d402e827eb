"""What a name and a content may consist of."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ChatError, InvalidContent, TooLarge
from schemas.text import _COMPOSED_OF_MAX, _MARKS, _with_sorted_marks, clean_content, clean_name

DECOMPOSED, COMPOSED = "e\u0301", "\u00e9"
BIDI_OVERRIDES = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
BIDI_MARKS = "\u061c\u200e\u200f"
ENGLAND, TEXAS = (
    "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f" for region in ("gbeng", "ustx")
)
INVISIBLE = [
    *"\u00ad\u034f\u115f\u1160\u17b4\u180b\u180e\u200b\u200c\u200d\u2060\u2064\u206a\u2800\u3164\ufe00\ufe0f\ufeff\uffa0",
    *"\ufff0\ufffb\U0001bca0\U0001d159\U0001d173\U000e0001\U000e0041\U000e007f\U000e0100\U000e0fff",
    *"\u00a0\u2003\u2028\u2029\u3000\u200e\u200f\u061c\u202e\u2066",
]
marks = st.text(st.sampled_from(sorted(_MARKS)), min_size=1, max_size=4)
any_text = st.text(st.characters(exclude_categories=()))


def named(character: str) -> str:
    return f"U+{ord(character):04X}"


# Names.


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("Nika", "Nika"),
        ("  Nika Smith\n", "Nika Smith"),
        ("\u3000Nika\u00a0", "Nika"),
        (DECOMPOSED, COMPOSED),
        ("ნიკა", "ნიკა"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("نی\u200cکی", "نی\u200cکی"),
        ("രാജൻ രാജന്\u200d", "രാജൻ രാജന്\u200d"),
        ("ශ්\u200dරී", "ශ්\u200dරී"),
        ("👨\u200d👩\u200d👧\u200d👦", "👨\u200d👩\u200d👧\u200d👦"),
        ("❤\ufe0f", "❤\ufe0f"),
        (f"{ENGLAND} Harry", f"{ENGLAND} Harry"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("བཀྲ་ཤིས", "བཀྲ་ཤིས"),
        ("\u1112\u1161\u11ab", "한"),
        ("Z" + "\u0300\u0316" * 31, unicodedata.normalize("NFC", "Z" + "\u0300\u0316" * 31)),
        ("\u2028Nika\u2029", "Nika"),
        ("\u03b1\u0345\u0313\u0300" * 64, "\u1f82" * 64),
        ("N", "N"),
        ("n" * 64, "n" * 64),
        (" " * 100 + "n" * 64, "n" * 64),
        (DECOMPOSED * 64, COMPOSED * 64),
    ],
)
def test_a_name_is_kept_in_nfc_and_trimmed(given_name: str, kept: str) -> None:
    assert clean_name(given_name) == kept


@pytest.mark.parametrize("name", ["", "   ", "\t\n", "n" * 65, DECOMPOSED * 65, "n" * 60_000, "a" + "\u0315" * 64])
def test_a_name_of_a_wrong_length_is_refused(name: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(name)


@pytest.mark.parametrize(
    "character",
    [
        *"\x00\x07\t\n\r\x1f\x7f\x85\x9f\ud800\udfff\u2028\u2029",
        *BIDI_MARKS,
        *BIDI_OVERRIDES,
        *"\U000e0001\U000e0041\U000e007f",
    ],
    ids=named,
)
def test_a_character_that_no_name_has_is_refused(character: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(f"Ni{character}ka")


@pytest.mark.parametrize("name", [*INVISIBLE, "".join(INVISIBLE), " \u200b "], ids=ascii)
def test_a_name_that_shows_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(name)


@pytest.mark.parametrize("name", [TEXAS, f"Nika{ENGLAND[1:]}", ENGLAND[:-1], f"{ENGLAND}\U000e0041"], ids=ascii)
def test_tags_that_make_no_known_flag_are_refused(name: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(name)


# Contents.


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("hey", "hey"),
        ("  hey  \n", "  hey  \n"),
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("a\r\r\nb", "a\n\nb"),
        ("\tx", "\tx"),
        (DECOMPOSED, COMPOSED),
        ("x" * 4000, "x" * 4000),
        (DECOMPOSED * 4000, COMPOSED * 4000),
        ("\r\n" * 3999 + "x", "\n" * 3999 + "x"),
        ("\u03b1\u0345\u0313\u0300" * 4000, "\u1f82" * 4000),
    ],
)
def test_a_content_is_kept_in_nfc_with_one_kind_of_line_end(sent: str, kept: str) -> None:
    assert clean_content(sent) == kept


@pytest.mark.parametrize("character", BIDI_OVERRIDES, ids=named)
def test_a_content_may_change_the_direction_of_text(character: str) -> None:
    assert clean_content(f"a{character}b") == f"a{character}b"


@pytest.mark.parametrize(
    "content", ["", " ", "\n\t \r\n", "\u00a0\u2003\u3000", *INVISIBLE, "".join(INVISIBLE), " \u200b\n"], ids=ascii
)
def test_a_content_that_shows_nothing_is_refused(content: str) -> None:
    with pytest.raises(InvalidContent):
        clean_content(content)


@pytest.mark.parametrize("character", "\x00\x07\x08\x0b\x0c\x1f\x7f\x85\x9f\ud800\udfff", ids=named)
def test_a_control_character_in_a_content_is_refused(character: str) -> None:
    with pytest.raises(InvalidContent):
        clean_content(f"a{character}b")


@pytest.mark.parametrize("content", ["x" * 4001, DECOMPOSED * 4001, "\r" * 60_000 + "x", "x" + "\u0315" * 4000])
def test_a_content_over_the_length_is_too_large(content: str) -> None:
    with pytest.raises(TooLarge):
        clean_content(content)


# Combining marks.


@given(
    st.lists(
        st.sampled_from(["a", "é", "ש", "\u1100\u1161", "", ""]) | st.builds(str.__mul__, marks, st.integers(1, 90))
    )
)
def test_marks_are_normalized_as_everywhere(pieces: list[str]) -> None:
    content = "x" + "".join(pieces)
    assert clean_content(content) == unicodedata.normalize("NFC", content)


@pytest.mark.parametrize("before", range(65))
def test_a_long_run_is_sorted_wherever_it_begins(before: int) -> None:
    run = "\u0315" * 31 + "\u0300" * 32
    for after in ("", "a"):
        text = "a" * before + run + after
        assert _with_sorted_marks(text) == "a" * before + "\u0300" * 32 + "\u0315" * 31 + after


def test_every_mark_is_known() -> None:
    everything = (chr(code) for code in range(sys.maxunicode + 1))
    decomposed = ((character, unicodedata.normalize("NFD", character)) for character in everything)
    assert {character for character, parts in decomposed if unicodedata.combining(parts[0])} == _MARKS


def test_no_character_is_made_of_more_than_four() -> None:
    assert max(len(unicodedata.normalize("NFD", chr(code))) for code in range(sys.maxunicode + 1)) == _COMPOSED_OF_MAX


# Both.


@given(any_text)
def test_whatever_is_kept_is_encodable_and_stays_as_it_is(text: str) -> None:
    for clean in (clean_name, clean_content):
        try:
            kept = clean(text)
        except ChatError:
            continue
        assert clean(kept) == kept
        assert kept.encode()
