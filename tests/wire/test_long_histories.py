"""A history that is too long to wait for its reader as a whole: it comes in parts, as one message."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

import api.app
from live_support.limits import Limits
from live_support.settings import Settings
from tests.helpers.keys import KEYS
from tests.helpers.proxy import RedisProxy
from tests.helpers.services import UNIT, Service, eventually, replace, serve
from tests.helpers.wire import Socket, Talk, say, talk_in

LONG = "\U0001f642" * 3990
MANY = 150
"""So many long messages are 2.4 MB: more than the system keeps for a peer."""

pytestmark = pytest.mark.given(limits=Limits(stop_notice_seconds=0, send_seconds=600 * UNIT))


@asynccontextmanager
async def long_talk(chat_server: Service) -> AsyncIterator[Talk]:
    """A chat in which the user has said much."""
    async with talk_in(chat_server) as talk:
        for begin in range(0, MANY, 10):
            for number in range(begin, begin + 10):
                await talk.user_socket.send(talk.user.says(f"{number} {LONG}"[:4000]))
            for each in (talk.user_socket, talk.support_socket):
                await each.receive_some(10)
        yield talk


@asynccontextmanager
async def late_reader(talk: Talk, **options: Any) -> AsyncIterator[Socket]:
    """A tab that has joined and reads nothing unless it is asked to."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    small.connect(("127.0.0.1", talk.chat_server.port))
    async with talk.user.chat(talk.chat_server, sock=small, max_queue=1, **options) as tab:
        await tab.send(talk.user_rejoin)
        yield tab


async def numbers(tab: Socket) -> list[int]:
    """The messages of the history, by their numbers."""
    history = await tab.receive()
    assert history["type"] == "ChatHistory"
    return [int(message["content"].partition(" ")[0]) for message in history["args"]["messages"]]


async def reads_of_the_log(redis: Redis) -> int:
    """How many pieces of logs Redis was asked for."""
    stats = await redis.info("commandstats")
    calls: int = stats.get("cmdstat_xrange", {}).get("calls", 0)
    return calls


async def settled_reads(redis: Redis) -> int:
    """The same, once no more come."""
    seen: list[int] = []

    async def same_as_before() -> bool:
        seen.append(await reads_of_the_log(redis))
        return seen[-4:] == seen[-1:] * 4

    await eventually(same_as_before)
    return seen[-1]


async def test_a_history_is_read_as_its_peer_takes_it(chat_server: Service, redis: Redis) -> None:
    async with long_talk(chat_server) as talk:
        begin = await settled_reads(redis)
        async with late_reader(talk) as tab:
            some = await settled_reads(redis) - begin
            assert await numbers(tab) == list(range(MANY))
            every = await reads_of_the_log(redis) - begin
            assert 0 < some < 0.7 * every
            await talk.goes_on(tab)


async def test_nothing_is_read_for_a_peer_that_has_gone(chat_server: Service, redis: Redis) -> None:
    async with long_talk(chat_server) as talk:
        async with late_reader(talk) as tab:
            begin = await settled_reads(redis)
            tab.connection.transport.abort()
        assert await settled_reads(redis) <= begin + 1
        await talk.goes_on()


async def test_what_happens_while_a_history_is_read_comes_behind_it(chat_server: Service, redis: Redis) -> None:
    async with long_talk(chat_server) as talk, late_reader(talk) as tab:
        await settled_reads(redis)
        said = [await say(talk.user.says(f"{number}"), talk.user_socket, talk.support_socket) for number in range(100)]
        assert await numbers(tab) == list(range(MANY))
        assert [frame["args"] for frame in await tab.receive_some(100)] == said
        await talk.goes_on(tab)


async def test_what_a_tab_says_while_it_reads_its_history_is_said(chat_server: Service) -> None:
    async with long_talk(chat_server) as talk, late_reader(talk) as tab:
        await tab.send(talk.user.says("Already here"))
        assert await numbers(tab) == list(range(MANY))
        for each in (tab, talk.user_socket, talk.support_socket):
            assert (await each.receive())["args"]["content"] == "Already here"


async def test_a_chat_that_ends_while_its_history_is_read(chat_server: Service, redis: Redis) -> None:
    async with long_talk(chat_server) as talk, late_reader(talk) as tab:
        await settled_reads(redis)
        await redis.delete(*KEYS.chat(talk.user.chatId)[:3])
        read = await numbers(tab)
        assert read == list(range(len(read)))
        assert await tab.drain() == ([talk.user.expired], 4510)


async def test_a_service_that_stops_closes_in_the_middle_of_a_history(chat_server: Service, redis: Redis) -> None:
    async with long_talk(chat_server) as talk, late_reader(talk) as tab:
        await settled_reads(redis)
        assert chat_server.stop is not None
        stopped = chat_server.stop()
        await asyncio.sleep(0)
        assert await tab.close_code() == 1012
        await stopped


async def test_an_outage_closes_in_the_middle_of_a_history(settings: Settings, redis_url: str, redis: Redis) -> None:
    limits = Limits(store_seconds=5 * UNIT, send_seconds=600 * UNIT, stop_notice_seconds=0)
    async with (
        RedisProxy.to(redis_url) as proxy,
        serve(api.app.create_service, replace(settings, redis_url=proxy.url, limits=limits)) as service,
        long_talk(service) as talk,
        late_reader(talk) as tab,
    ):
        await settled_reads(redis)
        proxy.replies_to_lose = 1_000_000
        assert await tab.close_code() == 1013
        proxy.replies_to_lose = 0
