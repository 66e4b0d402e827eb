"""Decoding what clients send."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import (
    decode_new_user,
)
from schemas.errors import InvalidContent, InvalidFrame, UnknownType
from schemas.messages import (
    Join,
    NewChatMessage,
    NewSupportMessage,
    NewUser,
    NewUserMessage,
    SupportJoin,
    UserJoin,
)
from schemas.text import clean_content, clean_name
from schemas.wire_v1 import V1

NIKA = "f49f3cc665af4cb38092af714a4c87fa"
VIKA = "7c270542e64a4dfbb2bc1c7793746674"


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
        *(
            (join(**{key: empty}), Join(UserJoin(user_id=NIKA)))
            for key in ("supportId", "token")
            for empty in (None, "")
        ),
        (join(username=None), Join(UserJoin(user_id=NIKA))),
        (message(supportId=None), NewChatMessage(NewUserMessage(user_id=NIKA, content="hey"))),
        (message(supportId=""), NewChatMessage(NewUserMessage(user_id=NIKA, content="hey"))),
        *(
            (join(**{"from": "Support", key: empty}), Join(SupportJoin(user_id=NIKA)))
            for key in ("supportId", "supportUserName")
            for empty in (None, "")
        ),
        (
            message(**{"from": "Support", "supportId": VIKA, "supportUserName": None}),
            NewChatMessage(NewSupportMessage(user_id=NIKA, support_id=VIKA, content="hey")),
        ),
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
    assert V1.decode(sent.encode()) == meant


def test_unknown_keys_are_ignored() -> None:
    sent = {"type": "Join", "args": {"userId": NIKA, "from": "User", "mood": {"deep": [1]}}, "id": 7}
    assert V1.decode(json.dumps(sent).encode()) == Join(UserJoin(user_id=NIKA))


@pytest.mark.parametrize("type_", ["Typing", "join", "Joined", "Error", ""])
def test_a_type_that_is_none_of_ours_is_unknown(type_: str) -> None:
    with pytest.raises(UnknownType):
        V1.decode(frame(type_, {}).encode())


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
        pytest.param(join(supportId=VIKA[1:]), id="short supportId"),
        pytest.param(message(**{"from": "Support", "supportId": ""}), id="Support with an empty supportId"),
        pytest.param("\ufeff" + join(), id="byte order mark"),
        pytest.param(join(username=["Nika"]), id="name is an array"),
        pytest.param(frame("ChatMessage", {"userId": NIKA, "from": "User"}), id="no content"),
        pytest.param(message(content=7), id="content is a number"),
        pytest.param(message(**{"from": "Support"}), id="Support without supportId"),
        pytest.param('{"type": "Join", "args": ' + "[" * 20_000, id="deeply nested"),
        pytest.param('{"x": ' + "[" * 20_000 + "]" * 20_000 + "}", id="deeply nested in an unknown key"),
        pytest.param('{"type": "\ud800"}', id="surrogate in UTF-8"),
        pytest.param(join()[:-1] + r', "x": "\ud8"}', id="unfinished escape"),
        pytest.param(join()[:-1] + r', "x": \ud83c}', id="half of a pair outside of a string"),
        pytest.param(join(**{"from": "User\ud83c"}), id="half of a pair in the sender"),
        pytest.param(join(userId=NIKA[:31] + "\ud83c"), id="half of a pair in an id"),
    ],
)
def test_anything_else_is_malformed(sent: str) -> None:
    with pytest.raises(InvalidFrame):
        V1.decode(sent.encode(errors="surrogatepass"))


HALVES = [
    r"\ud83c",
    r"\uD83C",
    r"\udc00",
    r"\udf89\ud83c",
    r"\ud83c\ud83c\udf89",
    r"\ud83c\\udf89",
    r"\\\ud83c",
    r"x\ud83cx",
]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    "place",
    ['"x": "%s"', '"%s": 1', '"x": [{"%s": ["%s"]}]', '"x": "%s", "y": 1e9999'],
    ids=["value", "key", "nested", "before a number out of range"],
)
def test_half_of_a_surrogate_pair_is_ignored_where_nothing_is_read(half: str, place: str) -> None:
    more = place.replace("%s", half)
    for sent in (f"{message()[:-1]}, {more}}}", message()[:-2] + f", {more}}}}}", f"{{{more}, {message()[1:]}"):
        assert V1.decode(sent.encode()) == NewChatMessage(NewUserMessage(user_id=NIKA, content="hey"))
    assert decode_new_user(f'{{"username": "Nika", {more}}}'.encode()) == NewUser(username="Nika")


@pytest.mark.parametrize("half", HALVES)
def test_half_of_a_surrogate_pair_in_a_text_is_refused_as_content(half: str) -> None:
    sent = message(content="HALF").replace("HALF", half)
    decoded = V1.decode(sent.encode())
    assert isinstance(decoded, NewChatMessage)
    with pytest.raises(InvalidContent, match="content"):
        clean_content(decoded.args.content)
    with pytest.raises(InvalidContent, match="name"):
        clean_name(decode_new_user(f'{{"username": "{half}"}}'.encode()).username)


def test_half_of_a_surrogate_pair_in_the_type_is_an_unknown_type() -> None:
    for sent in (r'{"type": "Join\ud83c", "args": {}}', r'{"type": "Typing", "args": {"x": "\ud83c"}}'):
        with pytest.raises(UnknownType):
            V1.decode(sent.encode())


pieces = st.sampled_from(
    [
        r"\\",
        r"\u",
        r"\ud83c",
        r"\uDF89",
        r"\udc00",
        r"\uD83C",
        "u",
        "d83c",
        r"\n",
        r"\"",
        r"\u005c",
        "é",
        '"',
        "\\",
        "f",
    ]
)


@given(st.lists(pieces, max_size=8).map("".join), st.lists(pieces, max_size=3).map("".join))
@example(text=r"\\ud83c\udc00\\\udc00", unread="")
@example(text=r"\ud83c\\udf89", unread=r"\\ud83c")
def test_a_body_is_json_when_it_is_for_others(text: str, unread: str) -> None:
    body = f'{{"username":"{text}","x":["{unread}"]}}'
    try:
        meant = json.loads(body)["username"]
    except ValueError:
        with pytest.raises(InvalidFrame):
            decode_new_user(body.encode())
    else:
        assert decode_new_user(body.encode()).username == re.sub("[\ud800-\udfff]", "\0", meant)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"name": "Nika"}', "username"),
        (b"{}", "username"),
        (b'{"username": null}', "username"),
        (b'{"username": 7}', "username"),
        (b"[]", "object"),
        (b"", "JSON"),
        (b"{", "JSON"),
        (b'{"username": "Nika", "x": NaN}', "JSON"),
        (b'{"username": "\xff"}', "JSON"),
        (b'{"username": "\xff", "x": "\\ud83c"}', "JSON"),
        (b'{"y": "\\ud83c", "username": "Nika", "x": ' + b"[" * 400 + b"]" * 400 + b"}", "too many"),
        (b'{"username": "Nika", "x": ' + b"[" * 500 + b"]" * 500 + b"}", "too many"),
    ],
)
def test_a_body_that_is_refused_is_told_why(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidFrame, match=reason):
        decode_new_user(body)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-1e-999", "0." + "9" * 5000, "1E+400"])
def test_a_number_that_is_not_read_has_any_size(number: str) -> None:
    assert decode_new_user(f'{{"username": "Nika", "x": [{number}]}}'.encode()) == NewUser(username="Nika")
    sent = f'{message()[:-1]}, "x": {number}}}'
    assert V1.decode(sent.encode()) == NewChatMessage(NewUserMessage(user_id=NIKA, content="hey"))


def test_an_error_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidFrame) as refused:
        V1.decode(message(userId="my secret", content="my secret").encode())
    assert "secret" not in refused.value.message


# An agent's click.


@pytest.mark.parametrize("form", ["{}", '"{}"', "  {}\n", ' "{}" ', '" {} "', "\t{}\r\n"])
def test_a_claim_is_the_bare_user_id(form: str) -> None:
    assert V1.decode_claim(form.format(NIKA).encode()) == NIKA


@pytest.mark.parametrize(
    "sent",
    ["", '""', NIKA[1:], NIKA + "0", NIKA.upper(), f"{NIKA[:16]} {NIKA[16:]}", f"{{{NIKA}}}", f"[{NIKA}]", "\ud800"],
)
def test_any_other_claim_is_malformed(sent: str) -> None:
    with pytest.raises(InvalidFrame):
        V1.decode_claim(sent.encode(errors="surrogatepass"))
