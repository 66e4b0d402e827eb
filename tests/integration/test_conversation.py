"""The seed's conversation, and who may take part in it."""

import asyncio

import pytest

from live_support_client import (
    AlreadyClaimed,
    ChatClient,
    ChatHistory,
    ChatMessage,
    Forbidden,
    Joined,
    JoinsClient,
    SupportJoined,
    UserJoined,
)
from tests.helpers.sdk import hear, hear_said, request_of
from tests.helpers.services import DEADLINE

pytestmark = pytest.mark.usefixtures("no_task_is_left")


async def test_the_seeds_conversation(client: ChatClient, joins: JoinsClient) -> None:
    nika = await client.register("Nika")
    assert nika.username == "Nika"
    async with client.chat(nika) as user:
        assert await hear(user) == Joined(args=UserJoined(user_id=nika.user_id))
        early = await user.send("Hey, I want to transfer money")
        assert await hear(user) == ChatMessage(args=early)

        async with asyncio.timeout(DEADLINE):
            request = await anext(joins)
        assert request == request_of(nika)
        await joins.claim(request)

        async with client.support_chat(request, name="Vika", username="Nika") as support:
            joined = await hear(support)
            assert isinstance(joined, Joined)
            assert isinstance(joined.args, SupportJoined)
            assert joined == await hear(user)
            assert joined.args.support_user_name == support.support_name == user.support_name == "Vika"
            assert joined.args.support_id == support.support_id == user.support_id
            history = await hear(support)
            assert isinstance(history, ChatHistory)
            assert history.args.messages == [early]

            said = [await user.send("via internet bank"), await support.send("Hello, navigate to Transfer :)")]
            assert [(message.sender, message.support_id) for message in said] == [
                ("User", user.support_id),
                ("Support", user.support_id),
            ]
            assert said[0].timestamp < said[1].timestamp
            for chat in (user, support):
                assert [await hear(chat), await hear(chat)] == [ChatMessage(args=message) for message in said]

    # Each refreshes: the history comes, and nothing else.
    for again in (
        client.chat(nika, support_id=user.support_id),
        client.support_chat(request, name="Vika", support_id=user.support_id),
    ):
        async with again as chat:
            history = await hear(chat)
            assert isinstance(history, ChatHistory)
            assert history.args.messages == [early, *said]


async def test_a_user_who_lost_the_support_id_learns_it_again(client: ChatClient) -> None:
    user = await client.register("Nika")
    request = request_of(user)
    async with client.chat(user) as chat, client.support_chat(request, name="Vika") as support:
        await chat.send("Hey")
        async with client.chat(user) as other_tab:
            messages = [await hear(other_tab) for _ in range(3)]
            assert [type(message) for message in messages] == [Joined, Joined, ChatHistory]
            assert other_tab.support_id == support.support_id


async def test_the_same_text_twice_is_two_messages(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        first, second = await asyncio.gather(chat.send("Hello?"), chat.send("Hello?"))
        assert first.timestamp < second.timestamp
        assert await hear_said(chat, 2) == ["Hello?", "Hello?"]


async def test_a_user_with_a_token_joins_with_it(client: ChatClient) -> None:
    user = await client.create_user("Nika")
    assert user.token
    async with client.chat(user) as chat:
        await chat.send("Hey")
    stranger = type(user)(user_id=user.user_id, username="Nika", chat_id=user.chat_id, token="guessed")  # noqa: S106
    with pytest.raises(Forbidden):
        async with client.chat(stranger):
            pass


async def test_a_second_agent_is_told_at_once(client: ChatClient) -> None:
    user = await client.register("Nika")
    request = request_of(user)
    async with client.chat(user), client.support_chat(request, name="Vika"):
        with pytest.raises(AlreadyClaimed):
            async with client.support_chat(request, name="Nina"):
                pass
