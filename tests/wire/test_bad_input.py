"""Frames that a chat connection must not send: each gets its `Error` or close code, and the others notice nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from api.app import create_service
from live_support.limits import Limits
from live_support.settings import Settings
from tests.helpers.services import UNIT, Service, replace, serve
from tests.helpers.wire import Frame, Socket, Talk, User, error_code, refusal, say, talk_in, user_in_chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST_FRAME = 4 * UNIT

Damage = Callable[[Frame], object]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient_server(shared_settings: Settings) -> AsyncIterator[Service]:
    """Wants the first frame soon."""
    limits = Limits(first_frame_seconds=FIRST_FRAME)
    async with serve(create_service, replace(shared_settings, limits=limits)) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def talk(shared_chat_server: Service) -> AsyncIterator[Talk]:
    async with talk_in(shared_chat_server) as talk:
        yield talk


@pytest_asyncio.fixture(loop_scope="module")
async def tab(talk: Talk) -> AsyncIterator[Socket]:
    """The connection that misbehaves: another one of the User's."""
    async with talk.tab(talk.user_rejoin) as tab:
        yield tab


def changed(**changes: Any) -> Damage:
    """Replace args."""
    return lambda frame: {**frame, "args": {**frame["args"], **changes}}


def without(key: str) -> Damage:
    """Leave an arg out."""
    return lambda frame: {**frame, "args": {name: value for name, value in frame["args"].items() if name != key}}


def retyped(type_: str) -> Damage:
    """Replace the type."""
    return lambda frame: {**frame, "type": type_}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


BROKEN: dict[str, str] = {
    "nothing": "",
    "no JSON": "Hello?",
    "half an object": '{"type": "ChatMessage"',
    "two objects": "{}{}",
    "no number of JSON": '{"type": NaN}',
    "array": "[]",
    "array of a frame": '[{"type": "ChatMessage", "args": {}}]',
    "number": "7",
    "huge number": "9" * 5000,
    "string": '"ChatMessage"',
    "null": "null",
    "no type": '{"args": {}}',
    "numeric type": '{"type": 7, "args": {}}',
    "null as type": '{"type": null, "args": {}}',
    "no args": '{"type": "ChatMessage"}',
    "null as args": '{"type": "ChatMessage", "args": null}',
    "array as args": '{"type": "ChatMessage", "args": []}',
    "deep nesting": nested(30_000),
    "deep nesting without an end": "[" * 60_000,
    "deep nesting of objects": '{"a":' * 10_000,
}

DAMAGED: dict[str, Damage] = {
    "no from": without("from"),
    "from Bot": changed(**{"from": "Bot"}),
    "from in lower case": changed(**{"from": "user"}),
    "null as from": changed(**{"from": None}),
    "no userId": without("userId"),
    "null as userId": changed(userId=None),
    "numeric userId": changed(userId=7),
    "short userId": changed(userId="a" * 31),
    "userId in upper case": changed(userId="A" * 32),
    "userId with a line end": changed(userId="a" * 32 + "\n"),
    "short supportId": changed(supportId="a" * 31),
    "byte order mark": lambda frame: "\ufeff" + json.dumps(frame),
    "half an emoji in the sender": changed(**{"from": "User\ud83c"}),
    "half an emoji in an id": changed(userId="a" * 31 + "\ud83c"),
    "half an emoji outside of a string": lambda frame: json.dumps(frame)[:-1] + r', "x": \ud83c}',
    "array as supportId": changed(supportId=[]),
    "no content": without("content"),
    "null as content": changed(content=None),
    "numeric content": changed(content=7),
    "object as content": changed(content={"text": "Hello"}),
    "Support without supportId": changed(**{"from": "Support"}),
    "Support with an empty supportId": changed(**{"from": "Support", "supportId": ""}),
    "deep nesting in an unknown key": lambda frame: json.dumps(frame)[:-1] + f', "extra": {nested(30_000)}}}',
}


# Malformed frames.


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_frame_is_invalid(talk: Talk, tab: Socket, frame: str) -> None:
    assert await refusal(frame, tab) == "invalid"
    await talk.goes_on(tab)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
async def test_a_damaged_message_is_invalid(talk: Talk, tab: Socket, damage: Damage) -> None:
    assert await refusal(damage(talk.user.says("Hello")), tab) == "invalid"
    await talk.goes_on(tab)


@pytest.mark.parametrize(
    "damage",
    [without("from"), changed(**{"from": "Bot"}), without("userId"), changed(username=7), changed(token=["x"])],
    ids=["no from", "from Bot", "no userId", "numeric username", "array as token"],
)
async def test_a_damaged_join_may_be_repaired(shared_chat_server: Service, damage: Damage) -> None:
    user = await User.register(shared_chat_server)
    async with user.chat(shared_chat_server) as socket:
        assert await refusal(damage(user.join()), socket) == "invalid"
        await socket.send(user.join())
        assert await socket.receive() == user.joined


async def test_the_third_malformed_frame_in_a_row_closes(talk: Talk, tab: Socket) -> None:
    for frame in ("{", talk.user.says("", userId=7), "[]"):
        await tab.send(frame)
    errors, code = await tab.drain()
    assert [error_code(error) for error in errors] == ["invalid"] * 3
    assert code == 4500
    await talk.goes_on()


async def test_malformed_frames_close_before_the_join_as_well(shared_chat_server: Service) -> None:
    async with (await User.register(shared_chat_server)).chat(shared_chat_server) as socket:
        for _ in range(3):
            await socket.send("{")
        errors, code = await socket.drain()
        assert (len(errors), code) == (3, 4500)


async def test_a_good_frame_between_malformed_ones_starts_the_count_anew(talk: Talk, tab: Socket) -> None:
    for _ in range(2):
        assert [await refusal("{", tab) for _ in range(2)] == ["invalid"] * 2
        await say(talk.user.says("Hello"), tab, talk.user_socket, talk.support_socket)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (retyped("Typing"), "unknown_type"),
        (retyped("chatmessage"), "unknown_type"),
        (retyped("Joined"), "unknown_type"),
        (changed(content=" "), "invalid"),
        (changed(content="x" * 4001), "too_large"),
        (changed(userId="0" * 32), "forbidden"),
        (changed(content="\u200b\u2800"), "invalid"),
        (changed(content="party \ud83c"), "invalid"),
        (changed(content="\udf89"), "invalid"),
        (retyped("Typing\ud83c"), "unknown_type"),
    ],
    ids=[
        "unknown type",
        "type in lower case",
        "type of the server's",
        "white space",
        "too large",
        "forged",
        "invisible",
        "half an emoji",
        "the other half",
        "half an emoji in the type",
    ],
)
async def test_other_refusals_close_nothing_however_often(talk: Talk, tab: Socket, damage: Damage, code: str) -> None:
    frame = damage(talk.user.says("Hello"))
    assert [await refusal(frame, tab) for _ in range(4)] == [code] * 4
    await talk.goes_on(tab)


async def test_half_an_emoji_in_a_content_is_named_as_such(talk: Talk, tab: Socket) -> None:
    await tab.send(talk.user.says("party \ud83c"))
    assert "content" in (await tab.receive())["args"]["message"]
    await talk.goes_on(tab)


@pytest.mark.parametrize(
    "unread",
    [{"x\ud83c": "\ud83c"}, {"x": [{"y": "\udf89\ud83c"}]}, {"username": "N\ud83c"}],
    ids=["key and value", "nested", "username"],
)
async def test_half_an_emoji_that_nobody_reads_is_ignored(talk: Talk, tab: Socket, unread: dict[str, Any]) -> None:
    await say(talk.user.says("Hello", **unread), tab, talk.user_socket, talk.support_socket)


# Optional keys.


EMPTY: dict[str, dict[str, Any]] = {
    f"{key} is {name}": {key: empty}
    for key in ("supportId", "username", "token")
    for name, empty in (("null", None), ("empty", ""))
}


@pytest.mark.parametrize("more", EMPTY.values(), ids=EMPTY.keys())
async def test_an_empty_key_of_a_user_is_as_if_absent(shared_chat_server: Service, more: dict[str, Any]) -> None:
    user = await User.register(shared_chat_server)
    async with user.chat(shared_chat_server) as socket:
        await socket.send(user.join(**more))
        assert await socket.receive() == user.joined
        await say(user.says("Hello?", **more), socket)


@pytest.mark.parametrize("more", EMPTY.values(), ids=EMPTY.keys())
async def test_an_empty_key_of_a_support_is_as_if_absent(shared_chat_server: Service, more: dict[str, Any]) -> None:
    async with user_in_chat(shared_chat_server) as (user, user_socket), user.chat(shared_chat_server) as socket:
        await socket.send(user.support_join(**more))
        joined = await socket.receive()
        assert joined["type"] == "Joined"
        assert await user_socket.receive() == joined
        own = {**more, "supportUserName": next(iter(more.values()))}
        own.pop("supportId", None)
        await say(user.hears("Hello!", joined["args"]["supportId"], **own), socket, user_socket)


@pytest.mark.parametrize("name", [{"supportUserName": None}, {"supportUserName": ""}], ids=["null", "empty"])
async def test_a_support_with_an_empty_name_has_none(shared_chat_server: Service, name: dict[str, Any]) -> None:
    async with user_in_chat(shared_chat_server) as (user, _), user.chat(shared_chat_server) as socket:
        await socket.send(user.support_join(**name))
        error = await socket.receive()
        assert error_code(error) == "invalid"
        assert "supportUserName" in error["args"]["message"]


# The first frame.


@pytest.mark.parametrize("type_", ["ChatMessage", "Typing"])
async def test_who_did_not_join_is_told_so_and_may_still_join(shared_chat_server: Service, type_: str) -> None:
    async with user_in_chat(shared_chat_server) as (user, first), user.chat(shared_chat_server) as socket:
        frame = retyped(type_)(user.says("Hello?"))
        assert await refusal(frame, socket) == ("not_joined" if type_ == "ChatMessage" else "unknown_type")
        await socket.send(user.join())
        assert await socket.receive() == user.joined
        await say(user.says("Hello!"), socket, first)


@pytest.mark.parametrize("frames", [[], ["ChatMessage"], ["Typing"]], ids=["silent", "not joining", "unknown"])
async def test_who_does_not_join_in_time_is_closed(impatient_server: Service, frames: list[str]) -> None:
    user = await User.register(impatient_server)
    start = asyncio.get_running_loop().time()
    async with user.chat(impatient_server) as socket:
        for type_ in frames:
            await refusal(retyped(type_)(user.says("Hello?")), socket)
        assert await socket.close_code() == 4408
    assert asyncio.get_running_loop().time() - start >= FIRST_FRAME


async def test_who_joined_in_time_stays(impatient_server: Service) -> None:
    async with user_in_chat(impatient_server) as (user, socket):
        async with user.chat(impatient_server) as late:
            assert await late.close_code() == 4408
        await say(user.says("Hello?"), socket)


async def test_a_second_join_is_refused_and_closes_nothing(talk: Talk, tab: Socket) -> None:
    for join in (talk.user.join(), talk.support_rejoin, talk.user.join(userId="0" * 32)):
        assert await refusal(join, tab) == "already_joined"
    await talk.goes_on(tab)
