"""Decoding what clients send, and encoding what is stored."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import (
    decode_claim,
    decode_client_message,
    encode,
    frame_of,
    history_frame,
)
from schemas.errors import InvalidFrame, UnknownType
from schemas.messages import (
    ChatHistory,
    ChatHistoryArgs,
    ChatMessage,
    Join,
    NewChatMessage,
    NewSupportMessage,
    NewUserMessage,
    Participant,
    StoredMessage,
    SupportJoin,
    UserJoin,
)

NIKA = "f49f3cc665af4cb38092af714a4c87fa"
VIKA = "7c270542e64a4dfbb2bc1c7793746674"

participants: st.SearchStrategy[Participant] = st.sampled_from(("User", "Support"))


def frame(type_: object, args: object) -> str:
    return json.dumps({"type": type_, "args": args})


def join(**args: Any) -> str:
    return frame("Join", {"userId": NIKA, "from": "User", **args})


def message(**args: Any) -> str:
    return frame("ChatMessage", {"userId": NIKA, "content": "hey", "from": "User", **args})


# What clients send.


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (join(username="Nika"), Join(UserJoin(user_id=NIKA, username="Nika"))),
        (join(supportId=VIKA), Join(UserJoin(user_id=NIKA, support_id=VIKA))),
        (join(supportId=None), Join(UserJoin(user_id=NIKA))),
        (join(token="secret"), Join(UserJoin(user_id=NIKA, token="secret"))),  # noqa: S106
        (
            join(**{"from": "Support", "supportUserName": "Vika"}),
            Join(SupportJoin(user_id=NIKA, support_user_name="Vika")),
        ),
        (message(), NewChatMessage(NewUserMessage(user_id=NIKA, content="hey"))),
        (
            message(**{"from": "Support", "supportId": VIKA}),
            NewChatMessage(NewSupportMessage(user_id=NIKA, support_id=VIKA, content="hey")),
        ),
    ],
)
def test_a_message_is_what_its_type_and_sender_say(sent: str, meant: object) -> None:
    assert decode_client_message(sent.encode()) == meant


def test_unknown_keys_are_ignored() -> None:
    sent = {"type": "Join", "args": {"userId": NIKA, "from": "User", "mood": {"deep": [1]}}, "id": 7}
    assert decode_client_message(json.dumps(sent).encode()) == Join(UserJoin(user_id=NIKA))


@pytest.mark.parametrize("type_", ["Typing", "join", "Joined", "Error", ""])
def test_a_type_that_is_none_of_ours_is_unknown(type_: str) -> None:
    with pytest.raises(UnknownType):
        decode_client_message(frame(type_, {}).encode())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("", id="empty"),
        pytest.param("hello", id="no JSON"),
        pytest.param(join()[:-1], id="cut off"),
        pytest.param(join() + "x", id="trailing text"),
        pytest.param("[]", id="array"),
        pytest.param("null", id="null"),
        pytest.param('"Join"', id="string"),
        pytest.param("{}", id="no type"),
        pytest.param(frame(7, {}), id="type is a number"),
        pytest.param('{"type": "Join"}', id="no args"),
        pytest.param(frame("Join", []), id="args are an array"),
        pytest.param(frame("Join", {"userId": NIKA}), id="no sender"),
        pytest.param(frame("Join", {"from": "User"}), id="no userId"),
        pytest.param(join(**{"from": "Admin"}), id="neither User nor Support"),
        pytest.param(join(**{"from": None}), id="null sender"),
        pytest.param(join(userId=NIKA[1:]), id="short id"),
        pytest.param(join(userId=NIKA + "0"), id="long id"),
        pytest.param(join(userId=NIKA.upper()), id="upper-case id"),
        pytest.param(join(userId=NIKA + "\n"), id="id with a line end"),
        pytest.param(join(userId=NIKA[1:] + "\n"), id="line end for a digit"),
        pytest.param(join(userId=7), id="id is a number"),
        pytest.param(join(supportId=""), id="empty supportId"),
        pytest.param(join(username=["Nika"]), id="name is an array"),
        pytest.param(frame("ChatMessage", {"userId": NIKA, "from": "User"}), id="no content"),
        pytest.param(message(content=7), id="content is a number"),
        pytest.param(message(**{"from": "Support"}), id="Support without supportId"),
        pytest.param('{"type": "Join", "args": ' + "[" * 20_000, id="deeply nested"),
        pytest.param('{"x": ' + "[" * 20_000 + "]" * 20_000 + "}", id="deeply nested in an unknown key"),
        pytest.param('{"type": "\ud800"}', id="lone surrogate"),
    ],
)
def test_anything_else_is_malformed(sent: str) -> None:
    with pytest.raises(InvalidFrame):
        decode_client_message(sent.encode(errors="surrogatepass"))


def test_an_error_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidFrame) as refused:
        decode_client_message(message(userId="my secret", content="my secret").encode())
    assert "secret" not in refused.value.message


# An agent's click.


@pytest.mark.parametrize("form", ["{}", '"{}"', "  {}\n", ' "{}" ', '" {} "', "\t{}\r\n"])
def test_a_claim_is_the_bare_user_id(form: str) -> None:
    assert decode_claim(form.format(NIKA).encode()) == NIKA


@pytest.mark.parametrize(
    "sent",
    ["", '""', NIKA[1:], NIKA + "0", NIKA.upper(), f"{NIKA[:16]} {NIKA[16:]}", f"{{{NIKA}}}", f"[{NIKA}]", "\ud800"],
)
def test_any_other_claim_is_malformed(sent: str) -> None:
    with pytest.raises(InvalidFrame):
        decode_claim(sent.encode(errors="surrogatepass"))


# What is stored.


def stored(content: str, *, sender: Participant = "User", support_id: str | None = VIKA) -> StoredMessage:
    return StoredMessage(
        user_id=NIKA,
        support_id=support_id or msgspec.UNSET,
        content=content,
        timestamp=datetime(2023, 10, 22, 18, 18, 59, 360855, tzinfo=UTC),
        sender=sender,
    )


# Frames around what is stored already.


@given(content=st.text(), sender=participants)
def test_a_frame_around_encoded_args_is_the_encoded_message(content: str, sender: Participant) -> None:
    message = stored(content, sender=sender)
    assert frame_of(b"ChatMessage", encode(message)) == encode(ChatMessage(message))


@given(st.lists(st.text(), max_size=5))
def test_a_history_of_encoded_messages_is_the_encoded_history(texts: Sequence[str]) -> None:
    messages = [stored(text) for text in texts]
    expected = encode(ChatHistory(ChatHistoryArgs(messages=messages)))
    assert history_frame([encode(message) for message in messages]) == expected
