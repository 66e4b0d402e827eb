"""What a `Chat` makes of what is sent, of names, and of its end."""

import asyncio

import pytest

from live_support_client import (
    Chat,
    ChatClient,
    ChatExpired,
    ChatGone,
    ChatMessage,
    Joined,
)
from tests.helpers.sdk import hear_all, hear_said
from tests.helpers.services import UNIT


async def test_messages_are_compared_as_the_server_stores_them(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        stored = await chat.send("Cafe\u0301\r\nau lait\rnoir  ")
        assert stored.content == "Café\nau lait\nnoir  "


async def test_tasks_may_send_at_the_same_time(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        texts = [f"message {number}" for number in range(50)]
        stored = await asyncio.gather(*map(chat.send, texts))
        assert [message.content for message in stored] == texts
        assert await hear_said(chat, len(texts)) == texts


async def test_a_name_may_look_like_a_path(client: ChatClient) -> None:
    for name in ("a/b", ".", "..", "50%", "Ника?", "a b"):
        assert (await client.register(name)).username == name


@pytest.mark.given(chat_ttl_seconds=5 * UNIT)
async def test_an_expired_chat_ends_the_iteration(client: ChatClient) -> None:
    user = await client.register("Nika")
    async with client.chat(user) as chat:
        *_, last = await hear_all(chat)
        assert isinstance(last, ChatExpired)
        assert last.args.chat_id == user.chat_id
        with pytest.raises(ChatGone):
            await chat.send("too late")
        assert await hear_all(chat) == []
    with pytest.raises(ChatGone):
        async with client.chat(user):
            pass


async def test_a_closed_chat_stops(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        listening = asyncio.create_task(hear_all(chat))
        await chat.send("Hey")
    assert [type(message) for message in await listening] == [Joined, ChatMessage]
    assert isinstance(chat, Chat)
