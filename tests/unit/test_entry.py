"""Entries of a chat's log: how they are published, and how often they are encoded."""

import pytest

from schemas.entry import CHAT_MESSAGE, Entry
from schemas.wire_v1 import WireV1


def test_an_entry_is_read_from_its_publication() -> None:
    assert Entry.parse(b'7 ChatMessage {"content":"a b  c"}') == Entry(7, CHAT_MESSAGE, b'{"content":"a b  c"}')


def test_what_a_later_release_adds_to_a_publication_is_passed_over() -> None:
    assert Entry.parse(b'7 ChatMessage {"content":"a"}\n{"seq":7}\nmore') == Entry(7, CHAT_MESSAGE, b'{"content":"a"}')


@pytest.mark.parametrize("publication", [b"", b"7", b"7 Joined", b"x Joined {}"])
def test_anything_else_is_no_entry(publication: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid"):
        Entry.parse(publication)


class CountingWire(WireV1):
    """Version 1, which counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def entry(self, entry: Entry) -> bytes | None:
        self.encoded += 1
        return super().entry(entry)


@pytest.mark.parametrize("kind", [CHAT_MESSAGE, b"Transferred"])
def test_an_entry_is_encoded_once_for_all_connections_of_a_version(kind: bytes) -> None:
    entry, wires = Entry(1, kind, b"{}"), [CountingWire(), CountingWire()]
    for wire in wires * 3:
        assert entry.frame(wire) == wire.entry(Entry(1, kind, b"{}"))
    assert [wire.encoded - 3 for wire in wires] == [1, 1]
