"""Whatever comes in a frame, it is a message or a known refusal, soon and without anything else."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidContent, InvalidFrame, TooLarge, UnknownType
from schemas.messages import Join, NewChatMessage
from schemas.text import clean_content, clean_name
from schemas.wire_v1 import V1

ID = "0123456789abcdef" * 2
KEYS = ["type", "args", "from", "userId", "supportId", "username", "supportUserName", "content", "token", "x"]
VALUES = ["Join", "ChatMessage", "User", "Support", ID, "", "Hey", "\ud800", "\u202e", "\x00", "a" * 5000]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=8),
    max_leaves=30,
)
envelopes = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Join", "ChatMessage"]) | json_values,
        "args": st.fixed_dictionaries(
            {},
            optional={key: st.sampled_from(VALUES) | json_values for key in KEYS},
        )
        | json_values,
    }
)


def mutated(text: str, cuts: list[tuple[int, str]]) -> str:
    """The text with pieces put in, or what stands there taken out."""
    for place, piece in cuts:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + (0 if piece else 1) :]
    return text


frames = (
    st.text()
    | json_values.map(json.dumps)
    | envelopes.map(json.dumps)
    | st.builds(
        mutated,
        envelopes.map(json.dumps),
        st.lists(
            st.tuples(st.integers(0, 10_000), st.sampled_from(["", '"', "\\", "{", "[", "}", ",", "\ud800", "é"]))
        ),
    )
)

DEEP = [
    "[" * 65_536,
    '{"x":' * 13_000,
    '{"type":"Join","x":' + "[" * 65_000,
    '{"type":"Join","args":' + '{"a":' * 300 + "1" + "}" * 301,
    '{"type":"Join","x":' + "[" * 480,
    '"' * 65_536,
    '\\"' * 32_768,
    '["a",' * 13_000,
    "[" + "1," * 32_000,
    "9" * 65_536,
    '{"type":"' + "\\ud83d" * 10_000 + '"}',
    "\x00" * 65_536,
    " " * 65_536,
]


def decoded(frame: str) -> Any:
    """What a frame is decoded to; None if it was refused as it should be."""
    try:
        return V1.decode(frame.encode(errors="surrogatepass"))
    except (InvalidFrame, UnknownType):
        return None


@settings(max_examples=500)
@given(frames)
def test_a_frame_is_a_message_or_refused(frame: str) -> None:
    message = decoded(frame)
    assert message is None or isinstance(message, Join | NewChatMessage)


@settings(max_examples=200)
@given(st.binary())
@example(b"\xff" * 32)
def test_so_are_any_bytes_that_reach_a_decoder(data: bytes) -> None:
    with suppress(InvalidFrame, UnknownType):
        V1.decode(data)


@pytest.mark.parametrize("frame", DEEP, ids=lambda frame: repr(frame[:20]))
def test_a_frame_made_to_hurt_is_refused_soon(frame: str) -> None:
    started = time.perf_counter()
    assert decoded(frame) is None
    with pytest.raises(InvalidFrame):
        V1.decode_claim(frame.encode())
    # A thousand times what it takes at most on a slow machine would still be noticed.
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("content", ["[" * 4000, "{}" * 2000, '\\"[' * 1000, '"[' * 1000, "\\[" * 2000])
def test_braces_in_what_people_write_do_not_count(content: str) -> None:
    args = {"from": "User", "userId": ID, "content": content}
    message = V1.decode(json.dumps({"type": "ChatMessage", "args": args}).encode())
    assert isinstance(message, NewChatMessage)
    assert message.args.content == content


def test_unknown_keys_may_hold_something() -> None:
    args: dict[str, Any] = {"from": "User", "userId": ID, "username": "Nika", "theme": {"colours": [[1, 2], {"a": []}]}}
    frame = json.dumps({"type": "Join", "args": args, "v": [{}] * 20}).encode()
    assert isinstance(V1.decode(frame), Join)


@given(frames | st.sampled_from([ID, f' "{ID}" ', ID.upper(), ID[1:], ID + "\n"]))
def test_a_claim_is_an_id_or_refused(frame: str) -> None:
    try:
        user_id = V1.decode_claim(frame.encode(errors="surrogatepass"))
    except InvalidFrame:
        return
    assert len(user_id) == 32
    assert set(user_id) <= set("0123456789abcdef")


@given(st.text(max_size=100) | st.text(st.characters(categories=["Cc", "Cf", "Zs", "Mn", "Cs"]), max_size=80))
def test_a_name_is_clean_or_refused(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except InvalidContent:
        return
    assert 1 <= len(cleaned) <= 64
    assert clean_name(cleaned) == cleaned
    cleaned.encode()
    assert not any(character < " " or "\u202a" <= character <= "\u202e" for character in cleaned)


@given(st.text() | st.text(st.characters(categories=["Cc", "Cs", "Zs", "Mn"])))
def test_a_content_is_clean_or_refused(content: str) -> None:
    try:
        cleaned = clean_content(content)
    except (InvalidContent, TooLarge):
        return
    assert clean_content(cleaned) == cleaned
    cleaned.encode()
    assert not any(character < " " and character not in "\t\n" for character in cleaned)
