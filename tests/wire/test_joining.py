"""Who is told what on a `Join`: the table of PROTOCOL section 3. Refused joins are in test_refused_joins."""

from contextlib import AsyncExitStack

import pytest

from tests.helpers.services import Service
from tests.helpers.wire import (
    Frame,
    Published,
    User,
    agent_socket,
    requests_before_a_new_user,
    say,
    support_in_chat,
    talk_in,
    user_in_chat,
)

NOT_CURRENT = "0" * 32


def history(*messages: Frame) -> Frame:
    return {"type": "ChatHistory", "args": {"messages": list(messages)}}


def support_joined(user: User, support_id: str, name: str = "Vika") -> Frame:
    args = {"participant": "Support", "userId": user.userId, "supportId": support_id, "supportUserName": name}
    return {"type": "Joined", "args": args}


# The User.


async def test_the_first_join_queues_the_user_and_publishes_the_request(
    chat_server: Service, subscriber_service: Service, published: Published
) -> None:
    async with user_in_chat(chat_server) as (user, _):
        assert await published() == [user.request]
        assert await requests_before_a_new_user(chat_server, subscriber_service) == [user.request]


async def test_a_registration_alone_queues_nobody(
    chat_server: Service, subscriber_service: Service, published: Published
) -> None:
    await User.register(chat_server)
    assert await published() == []
    assert await requests_before_a_new_user(chat_server, subscriber_service) == []


async def test_a_second_tab_before_any_agent_is_told_joined_alone(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, first), user.chat(chat_server) as second:
        await second.send(user.join())
        assert await second.receive() == user.joined
        await say(user.says("Hello?"), second, first)


async def test_a_refresh_before_any_agent_brings_the_history(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, socket):
        said = await say(user.says("Hello?"), socket)
    async with user.chat(chat_server) as socket:
        await socket.send(user.join())
        assert await socket.receive_some(2) == [user.joined, history(said)]
        await say(user.says("Still me"), socket)


async def test_refreshes_leave_one_queue_entry_and_one_publication(
    chat_server: Service, subscriber_service: Service, published: Published
) -> None:
    async with agent_socket(subscriber_service) as joins, user_in_chat(chat_server) as (user, _):
        for _ in range(3):
            async with user.chat(chat_server) as tab:
                await tab.send(user.join())
                assert await tab.receive() == user.joined
        assert await published() == [user.request]
        async with user_in_chat(chat_server) as (newest, _):
            assert await joins.receive_some(2) == [user.request, newest.request]


@pytest.mark.parametrize("current", [True, False], ids=["current", "not current"])
async def test_a_user_who_knows_a_support_id_gets_the_history_alone(chat_server: Service, current: bool) -> None:
    async with talk_in(chat_server) as talk:
        said = await say(talk.user.says("Hello?"), talk.user_socket, talk.support_socket)
        async with talk.user.chat(chat_server) as tab:
            await tab.send(talk.user.join(supportId=talk.support_id if current else NOT_CURRENT))
            assert await tab.receive() == history(said)
            await talk.goes_on(tab)


async def test_the_history_of_a_silent_chat_is_empty(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk, talk.user.chat(chat_server) as tab:
        await tab.send(talk.user_rejoin)
        assert await tab.receive() == history()


async def test_a_user_who_lost_the_support_id_learns_it_again(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        said = await say(talk.user.says("Hello?"), talk.user_socket, talk.support_socket)
        async with talk.user.chat(chat_server) as tab:
            await tab.send(talk.user.join())
            told = [talk.user.joined, support_joined(talk.user, talk.support_id), history(said)]
            assert await tab.receive_some(3) == told
            await talk.goes_on(tab)


async def test_a_user_who_lost_the_support_id_of_a_silent_chat_gets_no_history(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk, talk.user.chat(chat_server) as tab:
        await tab.send(talk.user.join())
        assert await tab.receive_some(2) == [talk.user.joined, support_joined(talk.user, talk.support_id)]
        await talk.goes_on(tab)


# The Support.


async def test_the_first_support_is_announced_to_every_connection(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, first), user.chat(chat_server) as second:
        await second.send(user.join())
        await second.receive()
        async with support_in_chat(chat_server, user) as (support_id, support):
            assert [await socket.receive() for socket in (first, second)] == [support_joined(user, support_id)] * 2
            await say(user.hears("Hello", support_id), support, first, second)


async def test_the_first_support_takes_the_user_out_of_the_queue(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with talk_in(chat_server):
        assert await requests_before_a_new_user(chat_server, subscriber_service) == []


async def test_a_late_agent_gets_what_was_said_before(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, user_socket):
        said = [await say(user.says(content), user_socket) for content in ("Hello?", "Anybody?")]
        async with support_in_chat(chat_server, user, user_socket) as (support_id, support_socket):
            assert await support_socket.receive() == history(*said)
            assert all("supportId" not in message for message in said)
            answered = await say(user.hears("Hello", support_id), support_socket, user_socket)
            assert answered["supportId"] == support_id


async def test_the_first_support_of_a_silent_chat_gets_no_history(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        await talk.goes_on()


async def test_a_support_who_joins_again_gets_the_history_alone(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        said = await say(talk.user.says("Hello?"), talk.user_socket, talk.support_socket)
        async with talk.user.chat(chat_server) as tab:
            await tab.send(talk.support_rejoin)
            assert await tab.receive() == history(said)
            await talk.goes_on(tab)


async def test_a_user_who_joins_after_the_support_never_waits(
    chat_server: Service, subscriber_service: Service, published: Published
) -> None:
    user = await User.register(chat_server)
    async with support_in_chat(chat_server, user) as (support_id, support_socket), user.chat(chat_server) as socket:
        await socket.send(user.join())
        assert await socket.receive_some(2) == [user.joined, support_joined(user, support_id)]
        assert await support_socket.receive() == user.joined
        assert await published() == []
        assert await requests_before_a_new_user(chat_server, subscriber_service) == []


async def test_an_agents_words_before_the_users_first_join_are_kept(chat_server: Service) -> None:
    user = await User.register(chat_server)
    async with support_in_chat(chat_server, user) as (support_id, support_socket):
        said = await say(user.hears("Welcome", support_id), support_socket)
    async with user.chat(chat_server) as socket:
        await socket.send(user.join())
        told = [user.joined, support_joined(user, support_id), history(said)]
        assert await socket.receive_some(3) == told


# Both.


async def test_a_sixth_connection_of_a_participant_closes_the_oldest(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk, AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(talk.tab(talk.user_rejoin)) for _ in range(4)]
        await talk.goes_on(*tabs)
        sixth = await stack.enter_async_context(talk.tab(talk.user_rejoin))
        assert await talk.user_socket.close_code() == 4509
        await talk._replace(user_socket=sixth).goes_on(*tabs)
