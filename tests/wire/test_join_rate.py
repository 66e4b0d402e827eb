"""How often one chat may be joined, and what becomes of a join that comes too soon."""

import asyncio

import pytest

from live_support.rate import Rate
from tests.helpers.services import Service
from tests.helpers.wire import User, error_code, talk_in, user_in_chat

pytestmark = pytest.mark.given(chat_join_rate=Rate("3/hour"))


async def test_a_join_that_comes_too_soon_is_told_when_to_come_again(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, socket):
        for _ in range(2):
            async with user.chat(chat_server) as tab:
                await tab.send(user.join())
                assert await tab.receive() == user.joined
        async with user.chat(chat_server) as tab:
            await tab.send(user.join())
            (error,), code = await tab.drain()
        assert (error_code(error), code) == ("rate_limited", 4429)
        assert 0 < error["args"]["retryAfterMs"] <= 1_200_000
        await socket.send(user.says("Whoever is in goes on."))
        assert (await socket.receive())["type"] == "ChatMessage"


async def test_it_counts_over_both_participants(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        async with talk.tab(talk.support_rejoin):
            pass
        for rejoin in (talk.user_rejoin, talk.support_rejoin):
            async with talk.user.chat(chat_server) as tab:
                await tab.send(rejoin)
                (error,), code = await tab.drain()
                assert (error_code(error), code) == ("rate_limited", 4429)
        await talk.goes_on()


async def test_other_chats_do_not_notice(chat_server: Service) -> None:
    users = [await User.register(chat_server) for _ in range(3)]
    for user in users:
        for _ in range(3):
            async with user.chat(chat_server) as tab:
                await tab.send(user.join())
                assert await tab.receive() == user.joined


async def test_joins_at_the_same_moment_count_like_others(chat_server: Service) -> None:
    user = await User.register(chat_server)

    async def answer() -> str:
        async with user.chat(chat_server) as tab:
            await tab.send(user.join())
            kind: str = (await tab.receive())["type"]
            return kind

    assert sorted(await asyncio.gather(*(answer() for _ in range(8)))) == ["Error"] * 5 + ["Joined"] * 3
