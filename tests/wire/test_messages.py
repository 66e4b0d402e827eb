"""What becomes of a `ChatMessage`, and whose and what it may be. Malformed ones are in test_bad_input."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.services import Service
from tests.helpers.wire import Socket, Talk, contents, refusal, say, talk_in, user_in_chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN = "0" * 32


@pytest_asyncio.fixture(loop_scope="module")
async def talk(shared_chat_server: Service) -> AsyncIterator[Talk]:
    async with talk_in(shared_chat_server) as talk:
        yield talk


# The echo.


async def test_everybody_gets_the_same_bytes(talk: Talk) -> None:
    async with talk.tab(talk.user_rejoin) as user_tab, talk.tab(talk.support_rejoin) as support_tab:
        sockets = (talk.user_socket, user_tab, talk.support_socket, support_tab)
        for sender, frame in (
            (talk.user_socket, talk.user.says("Größe?")),
            (support_tab, talk.user.hears('"Größe"\n', talk.support_id)),
        ):
            await sender.send(frame)
            assert len({await socket.connection.recv() for socket in sockets}) == 1


async def test_what_was_echoed_is_what_the_history_holds(talk: Talk) -> None:
    said = [
        await say(talk.user.says("Größe?"), talk.user_socket, talk.support_socket),
        await say(talk.user.hears('"Größe"\n', talk.support_id), talk.support_socket, talk.user_socket),
    ]
    assert await talk.history() == said


async def test_two_who_write_at_once_see_one_order(talk: Talk) -> None:
    count = 50
    mine = [f"user {number}" for number in range(count)]
    yours = [f"support {number}" for number in range(count)]

    async def write(socket: Socket, frames: list[Any]) -> None:
        for frame in frames:
            await socket.send(frame)

    async with talk.tab(talk.support_rejoin) as support_tab:
        await asyncio.gather(
            write(talk.user_socket, [talk.user.says(content) for content in mine]),
            write(talk.support_socket, [talk.user.hears(content, talk.support_id) for content in yours]),
        )
        seen = await talk.user_socket.receive_some(2 * count)
        assert await talk.support_socket.receive_some(2 * count) == seen
        assert await support_tab.receive_some(2 * count) == seen
        assert await talk.history() == [frame["args"] for frame in seen]
    for own in (mine, yours):
        assert [content for content in contents(seen) if content in own] == own


async def test_timestamps_rise_strictly_even_in_a_burst(talk: Talk) -> None:
    count = 200
    for number in range(count):
        await talk.user_socket.send(talk.user.says(str(number)))
    seen = await talk.user_socket.receive_some(count)
    assert await talk.support_socket.receive_some(count) == seen
    stamps = [frame["args"]["timestamp"] for frame in seen]
    assert stamps == sorted(set(stamps))
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    assert all(form.fullmatch(stamp) for stamp in stamps)


async def test_unknown_keys_are_ignored(talk: Talk) -> None:
    frame = {**talk.user.says("Hello", clientMessageId="1", seq=7), "id": 1, "v": {"deep": [None]}}
    assert list(await say(frame, talk.user_socket, talk.support_socket)) == [
        "userId",
        "supportId",
        "content",
        "timestamp",
        "from",
    ]


# Whose message it is.


async def test_a_user_may_leave_the_support_id_out(talk: Talk) -> None:
    for change in ({}, {"supportId": None}, {"supportId": talk.support_id}):
        said = await say(talk.user.says("Hello", **change), talk.user_socket, talk.support_socket)
        assert said["supportId"] == talk.support_id


async def test_before_an_agent_came_there_is_no_support_id(shared_chat_server: Service) -> None:
    async with user_in_chat(shared_chat_server) as (user, socket):
        said = await say(user.says("Hello?"), socket)
        assert list(said) == ["userId", "content", "timestamp", "from"]
        assert await refusal(user.says("Hello?", supportId=FOREIGN), socket) == "forbidden"


@pytest.mark.parametrize(
    "change",
    [{"userId": FOREIGN}, {"supportId": FOREIGN}, {"from": "Support"}],
    ids=["userId", "supportId", "from"],
)
async def test_a_user_cannot_write_for_anybody_else(talk: Talk, change: dict[str, Any]) -> None:
    forged = talk.user.says("Send money", **{"supportId": talk.support_id, **change})
    assert await refusal(forged, talk.user_socket) == "forbidden"
    await talk.goes_on()


@pytest.mark.parametrize(
    "change",
    [{"userId": FOREIGN}, {"supportId": FOREIGN}, {"from": "User"}],
    ids=["userId", "supportId", "from"],
)
async def test_a_support_cannot_write_for_anybody_else(talk: Talk, change: dict[str, Any]) -> None:
    forged = talk.user.hears("Send money", talk.support_id, **change)
    assert await refusal(forged, talk.support_socket) == "forbidden"
    await talk.goes_on()


async def test_the_support_of_another_chat_cannot_write(shared_chat_server: Service, talk: Talk) -> None:
    async with talk_in(shared_chat_server) as other:
        forged = talk.user.hears("Send money", talk.support_id)
        assert await refusal(forged, other.support_socket) == "forbidden"
        await other.goes_on()
    await talk.goes_on()


# Content.


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("x", "x"),
        ("  as I wrote it \n", "  as I wrote it \n"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc\n\rd", "a\nb\nc\n\nd"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("👩‍👩‍👧 \U0001f3f3\ufe0f", "👩‍👩‍👧 \U0001f3f3\ufe0f"),
        ("<b>\"'\\/&\u2028", "<b>\"'\\/&\u2028"),
        ("\u202eright to left", "\u202eright to left"),
        ("1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000001Z"),
        ("x" * 4000, "x" * 4000),
        ("😀" * 4000, "😀" * 4000),
        ("e\u0301" * 4000, "\u00e9" * 4000),
        ("x" + "\r\n" * 3999, "x" + "\n" * 3999),
    ],
    ids=[
        "one character",
        "untrimmed",
        "tab and line end",
        "line ends",
        "NFC",
        "emoji",
        "special to others",
        "bidi",
        "a timestamp",
        "longest",
        "longest emoji",
        "longest after NFC",
        "longest after line ends",
    ],
)
async def test_content_is_stored_in_one_form(talk: Talk, sent: str, stored: str) -> None:
    await talk.user_socket.send(talk.user.says(sent))
    for socket in (talk.user_socket, talk.support_socket):
        assert (await socket.receive())["args"]["content"] == stored
    assert [message["content"] for message in await talk.history()] == [stored]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "invalid"),
        (" \t\r\n\u00a0\u2003", "invalid"),
        ("a\u0000b", "invalid"),
        ("a\u001bb", "invalid"),
        ("a\u000bb", "invalid"),
        ("a\u007fb", "invalid"),
        ("a\u0085b", "invalid"),
        ("a\ud800b", "invalid"),
        ("a\udc00\ud800b", "invalid"),
        ("x" * 4001, "too_large"),
        ("😀" * 4001, "too_large"),
        ("\u0958" * 2001, "too_large"),
    ],
    ids=[
        "empty",
        "white space",
        "NUL",
        "escape",
        "vertical tab",
        "delete",
        "C1",
        "lone surrogate",
        "swapped surrogates",
        "too long",
        "too many emoji",
        "too long after NFC",
    ],
)
async def test_other_content_is_refused(talk: Talk, content: str, code: str) -> None:
    assert await refusal(talk.user.says(content), talk.user_socket) == code
    assert await refusal(talk.user.hears(content, talk.support_id), talk.support_socket) == code
    await talk.goes_on()
