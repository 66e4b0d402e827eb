"""Two installations on one Redis, each with a prefix of its own: neither sees anything of the other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

import api.app
import subscriber.app
from live_support.rate import Rate
from live_support_client import ChatClient, ChatGone, JoinsClient, NotWaiting, Options, RateLimited
from tests.helpers.sdk import Agent, hear, hear_said, is_shown, request_of, user_chat, waiting_user
from tests.helpers.services import DEADLINE, make_settings, serve


class Installation(NamedTuple):
    """Both services of one prefix, by the SDK."""

    client: ChatClient
    agent: Agent


PREFIXES = ["live-support", "live-support:2", "shop"]
"""The second begins as the first, which must not matter."""


@pytest.fixture
async def installations(
    redis: Redis, redis_url: str, options: Options, services: AsyncExitStack
) -> AsyncIterator[list[Installation]]:
    """One of each prefix."""
    made = []
    for prefix in PREFIXES:
        settings = make_settings(redis_url, key_prefix=prefix, join_rate=Rate("3/hour"))
        chat_server = await services.enter_async_context(serve(api.app.create_service, settings))
        joins = await services.enter_async_context(serve(subscriber.app.create_service, settings))
        client = await services.enter_async_context(ChatClient(chat_server.http, options=options))
        made.append(Installation(client, partial(JoinsClient, joins.http, options=options)))
    yield made
    for prefix in PREFIXES:
        if keys := [key async for key in redis.scan_iter(match=f"{prefix}:*")]:
            await redis.unlink(*keys)


async def test_agents_see_and_claim_the_users_of_their_own(installations: list[Installation]) -> None:
    async with AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(waiting_user(each.client)) for each in installations]
        for number, each in enumerate(installations):
            async with each.agent() as joins:
                assert await hear(joins) == waiting[number]
                for other in waiting:
                    if other != waiting[number]:
                        with pytest.raises(NotWaiting):
                            await joins.claim(other)
                await joins.claim(waiting[number])
                # Had anybody else been shown, then before this one.
                async with waiting_user(each.client) as later:
                    assert await hear(joins) == later


async def test_a_chat_is_unknown_elsewhere(installations: list[Installation]) -> None:
    for number, each in enumerate(installations):
        async with user_chat(each.client) as chat, each.agent() as joins:
            await is_shown(request_of(chat), joins)
            async with each.client.support_chat(request_of(chat), name="Vika") as support:
                await support.send("Hello!")
                assert await hear_said(chat, 1) == ["Hello!"]
                for other in installations[:number] + installations[number + 1 :]:
                    with pytest.raises(ChatGone):
                        async with other.client.support_chat(request_of(chat), name="Ana"):
                            pass


async def test_one_does_not_use_up_the_rates_of_another(installations: list[Installation]) -> None:
    for each in installations:
        for _ in range(3):
            await each.client.register("Nika")
        with pytest.raises(RateLimited):
            await each.client.register("Nika")


async def test_only_the_default_publishes_on_the_plain_channel(redis: Redis, installations: list[Installation]) -> None:
    channels = ["Join", *(f"{prefix}:Join" for prefix in PREFIXES)]
    async with redis.pubsub() as listener:
        await listener.subscribe(*channels)
        for _ in channels:
            assert (await listener.get_message(timeout=DEADLINE))["type"] == "subscribe"
        heard = []
        for each in installations:
            async with waiting_user(each.client) as user:
                message = await listener.get_message(timeout=DEADLINE)
                heard.append(message["channel"])
                assert user.user_id in message["data"]
        assert heard == ["Join", "live-support:2:Join", "shop:Join"]


async def test_no_key_is_without_its_prefix(redis: Redis, installations: list[Installation]) -> None:
    before = {key async for key in redis.scan_iter()}
    async with user_chat(installations[2].client) as chat:
        await chat.send("Hello?")
        made = {key async for key in redis.scan_iter()} - before
    assert made
    assert {key for key in made if not key.startswith("shop:")} == set()
