"""When a chat expires, when a connection is closed for being idle, and which of both goes first."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from api.app import create_service
from live_support.settings import Settings
from tests.helpers.keys import KEYS
from tests.helpers.services import UNIT, Service, Stopwatch, eventually, serve
from tests.helpers.wire import (
    User,
    agent_socket,
    refusal,
    request_comes_next,
    say,
    support_in_chat,
    talk_in,
    user_in_chat,
)

TTL = 10 * UNIT
LONG = 6000 * UNIT
"""Far longer than any test waits."""

pytestmark = pytest.mark.given(chat_ttl_seconds=TTL, idle_seconds=LONG, leave_grace_seconds=LONG)


KEPT = {KEYS.queue.version, KEYS.queue.changes, KEYS.queue.swept}


async def keys(redis: Redis) -> set[str]:
    """Every key of ours but those that are kept."""
    return {key async for key in redis.scan_iter(match="live-support:*")} - KEPT


# A chat expires.


async def test_everybody_is_told_that_the_chat_has_expired(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk, talk.tab(talk.user_rejoin) as tab:
        for socket in (talk.user_socket, talk.support_socket, tab):
            assert await socket.drain() == ([talk.user.expired], 4510)


async def test_a_chat_lives_for_its_time_after_the_last_join(chat_server: Service) -> None:
    watch = Stopwatch()
    async with user_in_chat(chat_server) as (user, socket):
        assert await socket.drain() == ([user.expired], 4510)
    assert watch.seconds >= TTL


@pytest.mark.parametrize("renewed_by", ["message", "join"])
async def test_a_chat_in_use_outlives_its_time(chat_server: Service, renewed_by: str) -> None:
    watch = last = Stopwatch()
    async with talk_in(chat_server) as talk:
        while watch.seconds < 1.5 * TTL:
            await asyncio.sleep(TTL / 10)
            last = Stopwatch()
            if renewed_by == "message":
                await say(talk.user.says("Hello?"), talk.user_socket, talk.support_socket)
            else:
                async with talk.tab(talk.user_rejoin):
                    pass
        assert await talk.user_socket.drain() == ([talk.user.expired], 4510)
        assert last.seconds >= TTL


async def test_refused_messages_do_not_keep_a_chat_alive(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, socket):

        async def complain() -> None:
            while True:
                await socket.send(user.says(" "))
                await asyncio.sleep(TTL / 10)

        complaining = asyncio.create_task(complain())
        frames, code = await socket.drain()
        complaining.cancel()
        assert code == 4510
        assert frames.pop() == user.expired
        assert {frame["type"] for frame in frames} == {"Error"}


async def test_nothing_of_an_expired_chat_is_left(chat_server: Service, redis: Redis) -> None:
    async with talk_in(chat_server) as talk, user_in_chat(chat_server) as (_, waiting):
        await talk.goes_on()
        for socket in (waiting, talk.user_socket, talk.support_socket):
            await socket.drain()
        await eventually(lambda: _is_empty(redis))


async def test_a_waiting_user_who_left_is_forgotten_with_the_chat(chat_server: Service, redis: Redis) -> None:
    async with user_in_chat(chat_server):
        pass
    await eventually(lambda: _is_empty(redis))


async def _is_empty(redis: Redis) -> bool:
    return await keys(redis) == set()


async def test_an_expired_user_is_in_no_agents_list(chat_server: Service, subscriber_service: Service) -> None:
    async with user_in_chat(chat_server) as (_, socket):
        await socket.drain()
    async with user_in_chat(chat_server) as (newest, _), agent_socket(subscriber_service) as joins:
        assert await joins.receive() == newest.request


async def test_an_expired_chat_looks_like_one_that_never_was(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        await talk.user_socket.drain()
    for join in (talk.user.join(), talk.user_rejoin, talk.user.support_join(), talk.support_rejoin):
        for user in (talk.user, talk.user._replace(chatId="0" * 32)):
            async with user.chat(chat_server) as socket:
                await socket.send(join)
                assert await socket.drain() == ([user.expired], 4510)


async def test_a_registration_expires_as_well(chat_server: Service, redis: Redis) -> None:
    user = await User.register(chat_server)
    await eventually(lambda: _is_empty(redis))
    async with user.chat(chat_server) as socket:
        await socket.send(user.join())
        assert await socket.drain() == ([user.expired], 4510)


# A waiting chat may live longer.


@pytest.mark.given(waiting_ttl_seconds=2 * TTL)
async def test_a_waiting_chat_lives_for_its_own_time(chat_server: Service) -> None:
    watch = Stopwatch()
    async with user_in_chat(chat_server) as (user, socket):
        assert await socket.drain() == ([user.expired], 4510)
    assert watch.seconds >= 2 * TTL


@pytest.mark.given(waiting_ttl_seconds=LONG)
async def test_with_an_agent_a_chat_waits_no_longer(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        for socket in (talk.user_socket, talk.support_socket):
            assert await socket.drain() == ([talk.user.expired], 4510)


@pytest.mark.given(waiting_ttl_seconds=LONG)
async def test_an_agent_on_another_process_ends_the_waiting_as_well(
    chat_server: Service, services: AsyncExitStack, settings: Settings
) -> None:
    other = await services.enter_async_context(serve(create_service, settings))
    async with (
        user_in_chat(chat_server) as (user, user_socket),
        support_in_chat(other, user, user_socket) as (_, socket),
    ):
        for each in (user_socket, socket):
            assert await each.drain() == ([user.expired], 4510)


@pytest.mark.given(waiting_ttl_seconds=LONG)
async def test_a_chat_whose_user_never_joined_does_not_wait(chat_server: Service, redis: Redis) -> None:
    await User.register(chat_server)
    await eventually(lambda: _is_empty(redis))


# A connection is idle.


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=3 * UNIT)
async def test_an_idle_connection_is_closed_and_the_chat_lives_on(chat_server: Service) -> None:
    watch = Stopwatch()
    async with talk_in(chat_server) as talk:
        assert await talk.user_socket.close_code() == 4408
        assert watch.seconds >= 3 * UNIT
        async with talk.tab(talk.user_rejoin):
            pass


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=8 * UNIT)
async def test_what_a_connection_is_told_keeps_it_open(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        watch = Stopwatch()
        while watch.seconds < 12 * UNIT:
            await asyncio.sleep(UNIT)
            await say(talk.user.says("Hello?"), talk.user_socket, talk.support_socket)


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=8 * UNIT)
async def test_what_others_are_refused_keeps_nobody_open(chat_server: Service) -> None:
    async with talk_in(chat_server) as talk:
        idle = asyncio.create_task(talk.user_socket.close_code())
        while not idle.done():
            assert await refusal({"type": "Typing"}, talk.support_socket) == "unknown_type"
            await asyncio.wait([idle], timeout=UNIT)
        assert await idle == 4408
        assert await refusal({"type": "Typing"}, talk.support_socket) == "unknown_type"


waiting_is_longer = pytest.mark.given(
    waiting_ttl_seconds=40 * UNIT, chat_ttl_seconds=10 * UNIT, idle_seconds=10 * UNIT, leave_grace_seconds=3 * UNIT
)


@waiting_is_longer
async def test_who_waits_in_silence_waits_as_long_as_the_queue(
    chat_server: Service, subscriber_service: Service
) -> None:
    watch = Stopwatch()
    async with user_in_chat(chat_server) as (user, socket):
        waiting = asyncio.create_task(socket.drain())
        await asyncio.wait([waiting], timeout=25 * UNIT)
        assert not waiting.done(), "neither idle nor expired"
        async with agent_socket(subscriber_service) as joins:
            assert await joins.receive() == user.request
        assert await waiting == ([user.expired], 4510)
    assert watch.seconds >= 40 * UNIT


@pytest.mark.given(waiting_ttl_seconds=LONG, chat_ttl_seconds=LONG, idle_seconds=10 * UNIT)
@pytest.mark.parametrize("waited", [0, 15 * UNIT], ids=["at once", "later"])
async def test_who_has_waited_and_has_an_agent_is_idle_as_everybody(chat_server: Service, waited: float) -> None:
    async with user_in_chat(chat_server) as (user, user_socket):
        await asyncio.sleep(waited)
        async with support_in_chat(chat_server, user, user_socket):
            watch = Stopwatch()
            assert await user_socket.close_code() == 4408
    assert 9 * UNIT < watch.seconds < 15 * UNIT


@pytest.mark.given(waiting_ttl_seconds=15 * UNIT, idle_seconds=10 * UNIT, chat_ttl_seconds=LONG)
async def test_a_tab_is_closed_when_it_has_been_silent_for_as_long_as_the_queue_waits(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, socket):
        watch = Stopwatch()
        idle = asyncio.create_task(socket.close_code())
        while not idle.done():
            async with user.chat(chat_server) as tab:  # which keeps the chat alive, and says nothing to the other
                await tab.send(user.join())
                assert await tab.receive() == user.joined
            await asyncio.wait([idle], timeout=2 * UNIT)
        assert await idle == 4408
        assert watch.seconds >= 14.5 * UNIT


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=3 * UNIT)
async def test_an_idle_agent_is_closed(subscriber_service: Service) -> None:
    watch = Stopwatch()
    async with agent_socket(subscriber_service) as joins:
        assert await joins.close_code() == 4408
    assert watch.seconds >= 3 * UNIT


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=8 * UNIT)
async def test_requests_keep_an_agent_open(chat_server: Service, subscriber_service: Service) -> None:
    async with agent_socket(subscriber_service) as joins:
        watch = Stopwatch()
        while watch.seconds < 12 * UNIT:
            await asyncio.sleep(UNIT)
            await request_comes_next(chat_server, joins)


@pytest.mark.given(chat_ttl_seconds=LONG, idle_seconds=8 * UNIT)
async def test_claims_keep_an_agent_open(chat_server: Service, subscriber_service: Service) -> None:
    async with agent_socket(subscriber_service) as joins, user_in_chat(chat_server) as (user, _):
        assert await joins.receive() == user.request
        watch = Stopwatch()
        while watch.seconds < 12 * UNIT:
            await joins.send(user.userId)  # the winner hears nothing, however often
            await asyncio.sleep(UNIT)
        assert await refusal("0" * 32, joins) == "not_waiting"


# Both at once.


NEARLY = [pytest.param(marks=pytest.mark.given(idle_seconds=TTL + late), id=f"{late:+}s") for late in (-0.1, 0, 0.1)]


@pytest.mark.parametrize((), NEARLY)
async def test_where_both_fall_together_the_chat_expires_first(chat_server: Service) -> None:
    async def end() -> None:
        async with talk_in(chat_server) as talk:
            for socket in (talk.user_socket, talk.support_socket):
                assert await socket.drain() == ([talk.user.expired], 4510)

    await asyncio.gather(*(end() for _ in range(10)))
