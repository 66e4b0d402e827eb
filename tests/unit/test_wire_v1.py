"""What version 1 sends: the encoded structs, byte by byte, though what is stored is not decoded for it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.entry import CHAT_MESSAGE, JOINED, REPLACED, Entry
from schemas.errors import ChatFull, RateLimited
from schemas.examples import CHAT_EXPIRED, SUPPORT_JOINED, USER_JOINED
from schemas.messages import (
    ChatHistory,
    ChatHistoryArgs,
    ChatMessage,
    Participant,
    StoredMessage,
    SupportJoined,
    UserJoined,
)
from schemas.wire_v1 import V1

NIKA = "f49f3cc665af4cb38092af714a4c87fa"
VIKA = "7c270542e64a4dfbb2bc1c7793746674"


def stored(content: str, sender: Participant = "User") -> StoredMessage:
    return StoredMessage(
        user_id=NIKA,
        support_id=VIKA,
        content=content,
        timestamp=datetime(2023, 10, 22, 18, 18, 59, 360855, tzinfo=UTC),
        sender=sender,
    )


@given(content=st.text(), sender=st.sampled_from(get_args(Participant)))
def test_a_stored_message_is_sent_as_it_is(content: str, sender: Participant) -> None:
    message = stored(content, sender)
    assert V1.entry(Entry(1, CHAT_MESSAGE, encode(message))) == encode(ChatMessage(message))


@pytest.mark.parametrize("example", [USER_JOINED, SUPPORT_JOINED])
def test_joined_is_the_same_live_and_later(example: dict[str, object]) -> None:
    args = msgspec.convert(example["args"], UserJoined | SupportJoined)
    assert V1.joined(args) == V1.entry(Entry(1, JOINED, encode(args))) == msgspec.json.encode(example)


@pytest.mark.parametrize("kind", [REPLACED, b"Transferred", b"joined", b""])
def test_what_is_no_message_or_of_a_later_release_is_not_sent(kind: bytes) -> None:
    assert V1.entry(Entry(1, kind, b"{}")) is None


@given(st.lists(st.lists(st.text(), max_size=3), max_size=4))
def test_a_history_in_parts_is_the_history(parts: Sequence[Sequence[str]]) -> None:
    messages = [stored(text) for part in parts for text in part]
    whole = encode(ChatHistory(ChatHistoryArgs(messages=messages)))
    assert V1.history([encode(message) for message in messages]) == whole
    frames = [V1.history([encode(stored(text)) for text in part], first=False, last=False) for part in parts if part]
    if not parts or not parts[0]:
        return
    frames[0] = V1.history([encode(stored(text)) for text in parts[0]], last=False)
    assert b"".join([*frames, V1.history([], first=False)]) == whole


def test_the_end_of_a_chat_names_it() -> None:
    assert V1.expired(str(CHAT_EXPIRED["args"]["chatId"])) == msgspec.json.encode(CHAT_EXPIRED)


def test_an_error_says_when_to_try_again_if_that_is_known() -> None:
    assert V1.error(ChatFull("Full.")) == b'{"type":"Error","args":{"code":"chat_full","message":"Full."}}'
    assert V1.error(RateLimited("Slow.", retry_after_ms=0)) == (
        b'{"type":"Error","args":{"code":"rate_limited","message":"Slow.","retryAfterMs":0}}'
    )


def test_an_error_does_not_name_what_was_refused() -> None:
    assert V1.error(ChatFull("Full."), reference="1") == V1.error(ChatFull("Full."))
