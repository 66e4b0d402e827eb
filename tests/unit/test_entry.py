"""Entries of a chat's log, as they are published and sent."""

import pytest

from schemas.entry import CHAT_MESSAGE, JOINED, REPLACED, Entry


def test_an_entry_is_read_from_its_publication() -> None:
    assert Entry.parse(b'7 ChatMessage {"content":"a b  c"}') == Entry(7, CHAT_MESSAGE, b'{"content":"a b  c"}')


def test_what_a_later_release_adds_to_a_publication_is_passed_over() -> None:
    assert Entry.parse(b'7 ChatMessage {"content":"a"}\n{"seq":7}\nmore') == Entry(7, CHAT_MESSAGE, b'{"content":"a"}')


@pytest.mark.parametrize("publication", [b"", b"7", b"7 Joined", b"x Joined {}"])
def test_anything_else_is_no_entry(publication: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        Entry.parse(publication)


@pytest.mark.parametrize("kind", [JOINED, CHAT_MESSAGE])
def test_a_message_has_a_frame(kind: bytes) -> None:
    assert Entry(1, kind, b'{"a":1}').frame() == b'{"type":"%b","args":{"a":1}}' % kind


@pytest.mark.parametrize("kind", [REPLACED, b"Transferred", b"joined", b""])
def test_what_is_no_message_or_of_a_later_release_has_none(kind: bytes) -> None:
    assert Entry(1, kind, b"{}").frame() is None
