"""The table of message types is whole, and what is made from it agrees."""

import inspect
from typing import Any, get_args

import msgspec
import pytest

from api import roles, session
from schemas import messages
from schemas.entry import CHAT_MESSAGE, JOINED, Entry
from schemas.examples import MESSAGE_EXAMPLES
from schemas.messages import Message, Participant
from schemas.registry import MESSAGES, VERSIONS, MessageType, select, stored_kinds, union
from schemas.wire_v1 import V1

STRUCTS = [row for row in MESSAGES if row.payload is not messages.Id]


def test_every_message_is_in_the_table() -> None:
    structs = {
        struct
        for _, struct in inspect.getmembers(messages, inspect.isclass)
        if issubclass(struct, Message) and struct is not Message
    }
    assert structs | {messages.JoinRequest} == {row.payload for row in STRUCTS}
    assert len({row.name for row in MESSAGES}) == len(MESSAGES)


def test_every_message_has_examples_and_nothing_else_has() -> None:
    assert set(MESSAGE_EXAMPLES) == {row.payload for row in STRUCTS}


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row.name)
def test_a_row_says_where_a_message_goes(row: MessageType) -> None:
    assert row.channels
    assert row.versions <= set(VERSIONS)
    assert row.roles <= set(get_args(Participant))
    assert row in select(next(iter(row.channels)), row.direction, version=min(row.versions), role=min(row.roles))


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row.name)
def test_only_what_a_chat_tells_its_participants_is_stored(row: MessageType) -> None:
    if row.stored:
        assert row.direction == "out"
        assert row.channels == frozenset(("chat",))


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_gives_a_type_one_meaning_in_each_direction(direction: Any, version: int) -> None:
    rows = select("chat", direction, version=version)
    assert len({row.type for row in rows}) == len(rows)
    msgspec.json.Decoder(union(rows))


def test_a_process_knows_what_it_reads_of_an_entry() -> None:
    assert stored_kinds(version=1) == {JOINED, CHAT_MESSAGE}


@pytest.mark.parametrize("struct", [row.payload for row in MESSAGES if row.stored], ids=lambda struct: struct.__name__)
def test_the_body_of_an_entry_is_the_args_of_its_message(struct: type[Message]) -> None:
    for example in MESSAGE_EXAMPLES[struct].values():
        kind, body = example["type"].encode(), msgspec.json.encode(example["args"])
        assert Entry(1, kind, body).frame(V1) == msgspec.json.encode(example)


def test_every_message_of_a_participant_has_a_handler_and_nothing_else_has() -> None:
    types = {row.payload for row in select("chat", "in")}
    assert set(session._HANDLERS) == types
    assert roles.USER.may_send | roles.SUPPORT.may_send == types
