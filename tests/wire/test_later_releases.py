"""What a process of a later release writes into a chat's log and this one does not know: no client is ever sent it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.helpers.keys import KEYS
from tests.helpers.services import Service
from tests.helpers.wire import Talk, error_code, say, talk_in

BODY = '{"reason":"solved"}'
KINDS = ["ChatClosed", "Transferred", "chatmessage"]


@pytest.fixture
async def talk(chat_server: Service) -> AsyncIterator[Talk]:
    async with talk_in(chat_server) as talk:
        yield talk


async def append(redis: Redis, talk: Talk, kind: str, body: str, *, published: bool = True) -> None:
    """Append an entry as a later release might: with more in it than is read here."""
    keys = KEYS.chat(talk.user.chatId)
    offset = await redis.hincrby(keys.meta, "offset", 1)
    await redis.xadd(keys.log, {kind: body, "more": "{}"}, id=f"{offset}-1")
    if published:
        await publish(redis, talk, f"{offset} {kind} {body}\n{{}}")


async def publish(redis: Redis, talk: Talk, publication: str) -> None:
    command: Any = redis.execute_command  # which has no types
    await command("SPUBLISH", KEYS.chat(talk.user.chatId).live, publication)


async def test_nobody_is_sent_an_entry_of_an_unknown_kind(redis: Redis, talk: Talk) -> None:
    async with talk.tab(talk.user_rejoin) as user_tab, talk.tab(talk.support_rejoin) as support_tab:
        for kind in KINDS:
            await append(redis, talk, kind, BODY)
            await talk.goes_on(user_tab, support_tab)


async def test_nobody_is_sent_a_message_that_is_not_in_the_log(redis: Redis, talk: Talk) -> None:
    """As a later release may publish that somebody types."""
    await publish(redis, talk, '0 Typing {"from":"User"}')
    await talk.goes_on()


async def test_an_unknown_kind_in_a_gap_is_skipped_and_what_follows_is_not(redis: Redis, talk: Talk) -> None:
    async with talk.tab(talk.user_rejoin) as user_tab, talk.tab(talk.support_rejoin) as support_tab:
        for kind in KINDS:
            await append(redis, talk, kind, BODY, published=False)
        await talk.goes_on(user_tab, support_tab)


@pytest.mark.parametrize("content", ["short", "x" * 4000], ids=["a short log", "a log read in pieces"])
async def test_a_history_has_the_messages_alone(redis: Redis, talk: Talk, content: str) -> None:
    said = []
    for _ in range(6):
        for kind in KINDS:
            await append(redis, talk, kind, BODY)
        said.append(await say(talk.user.says(content), talk.user_socket, talk.support_socket))
    async with talk.user.chat(talk.chat_server) as user_tab, talk.user.chat(talk.chat_server) as support_tab:
        for socket, rejoin in ((user_tab, talk.user_rejoin), (support_tab, talk.support_rejoin)):
            await socket.send(rejoin)
            assert await socket.receive() == {"type": "ChatHistory", "args": {"messages": said}}
        await talk.goes_on(user_tab, support_tab)


async def test_what_is_added_to_a_message_is_not_sent(redis: Redis, talk: Talk) -> None:
    sent = {"userId": talk.user.userId, "content": "hey", "timestamp": "2026-01-02T03:04:05.000006Z", "from": "User"}
    await append(redis, talk, "ChatMessage", json.dumps(sent))
    for socket in (talk.user_socket, talk.support_socket):
        assert await socket.receive() == {"type": "ChatMessage", "args": sent}
    assert await talk.history() == [sent]


async def test_a_long_log_without_a_message_is_an_empty_history(redis: Redis, talk: Talk) -> None:
    """Whether a log is long goes by its entries: this one is read in pieces, of which none has a message."""
    for _ in range(200):
        await append(redis, talk, KINDS[0], BODY)
    for rejoin in (talk.user_rejoin, talk.support_rejoin):
        async with talk.tab(rejoin) as socket:
            await socket.send({"type": "Typing"})
            assert error_code(await socket.receive()) == "unknown_type"
    assert await talk.history() == []
