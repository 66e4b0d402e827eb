"""What a name and a content may consist of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ChatError, InvalidContent, TooLarge
from schemas.text import clean_content, clean_name

DECOMPOSED, COMPOSED = "e\u0301", "\u00e9"
BIDI_OVERRIDES = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
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
        ("N", "N"),
        ("n" * 64, "n" * 64),
        (" " * 100 + "n" * 64, "n" * 64),
        (DECOMPOSED * 64, COMPOSED * 64),
    ],
)
def test_a_name_is_kept_in_nfc_and_trimmed(given_name: str, kept: str) -> None:
    assert clean_name(given_name) == kept


@pytest.mark.parametrize("name", ["", "   ", "\t\n", "n" * 65, DECOMPOSED * 65])
def test_a_name_of_a_wrong_length_is_refused(name: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(name)


@pytest.mark.parametrize("character", [*"\x00\x07\t\n\r\x1f\x7f\x85\x9f\ud800\udfff", *BIDI_OVERRIDES], ids=named)
def test_a_character_that_no_name_has_is_refused(character: str) -> None:
    with pytest.raises(InvalidContent):
        clean_name(f"Ni{character}ka")


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
    ],
)
def test_a_content_is_kept_in_nfc_with_one_kind_of_line_end(sent: str, kept: str) -> None:
    assert clean_content(sent) == kept


@pytest.mark.parametrize("character", BIDI_OVERRIDES, ids=named)
def test_a_content_may_change_the_direction_of_text(character: str) -> None:
    assert clean_content(f"a{character}b") == f"a{character}b"


@pytest.mark.parametrize("content", ["", " ", "\n\t \r\n", "\u00a0\u2003\u3000"])
def test_a_content_of_white_space_is_refused(content: str) -> None:
    with pytest.raises(InvalidContent):
        clean_content(content)


@pytest.mark.parametrize("character", "\x00\x07\x08\x0b\x0c\x1f\x7f\x85\x9f\ud800\udfff", ids=named)
def test_a_control_character_in_a_content_is_refused(character: str) -> None:
    with pytest.raises(InvalidContent):
        clean_content(f"a{character}b")


@pytest.mark.parametrize("content", ["x" * 4001, DECOMPOSED * 4001])
def test_a_content_over_the_length_is_too_large(content: str) -> None:
    with pytest.raises(TooLarge):
        clean_content(content)


@given(any_text)
def test_whatever_is_kept_is_encodable_and_stays_as_it_is(text: str) -> None:
    for clean in (clean_name, clean_content):
        try:
            kept = clean(text)
        except ChatError:
            continue
        assert clean(kept) == kept
        assert kept.encode()
