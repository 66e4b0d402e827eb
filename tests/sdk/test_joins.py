"""The waiting list and claims through the SDK."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from live_support.rate import Rate
from live_support_client import (
    AlreadyClaimed,
    ChatClient,
    JoinRequest,
    JoinsClient,
    NotAcknowledged,
    Options,
)
from tests.helpers.proxy import Proxy
from tests.helpers.sdk import hear, request_of
from tests.helpers.services import DEADLINE, Service, eventually


@pytest.fixture
async def waiting(client: ChatClient) -> AsyncIterator[list[JoinRequest]]:
    """Twelve users who wait, in order."""
    async with AsyncExitStack() as stack:
        requests = []
        for number in range(12):
            user = await client.register(f"user {number}")
            await stack.enter_async_context(client.chat(user))
            requests.append(request_of(user))
        yield requests


async def test_those_who_wait_come_oldest_first(waiting: list[JoinRequest], joins: JoinsClient) -> None:
    assert [await hear(joins) for _ in waiting] == waiting


@pytest.mark.given(message_rate=Rate("10/second"))
async def test_claims_that_come_too_fast_are_made_when_they_may(
    waiting: list[JoinRequest], joins: JoinsClient, subscriber_service: Service, options: Options
) -> None:
    async with asyncio.timeout(DEADLINE):
        for request in waiting[:8]:
            await joins.claim(request)
        async with JoinsClient(subscriber_service.http, options=options) as late:
            for request in waiting[:4]:
                with pytest.raises(AlreadyClaimed):
                    await late.claim(request)


async def test_a_claim_inside_the_loop_reads_on(waiting: list[JoinRequest], subscriber_service: Service) -> None:
    options = Options(buffer=1, trust_env=False)
    claimed = []
    async with asyncio.timeout(DEADLINE), JoinsClient(subscriber_service.http, options=options) as joins:
        async for request in joins:
            await joins.claim(request)
            claimed.append(request)
            if len(claimed) == len(waiting):
                break
    assert claimed == waiting


async def test_a_cancelled_claim_leaves_no_answer_behind(waiting: list[JoinRequest], joins: JoinsClient) -> None:
    for request in waiting[:6]:
        claim = asyncio.create_task(joins.claim("0" * 32))
        await asyncio.sleep(0)
        claim.cancel()
        await joins.claim(request)


async def test_a_drop_shows_nobody_twice_but_who_was_claimed(
    waiting: list[JoinRequest], subscriber_service: Service, options: Options, client: ChatClient
) -> None:
    async with (
        Proxy.to(subscriber_service.http) as proxy,
        JoinsClient(proxy.url, options=options) as joins,
    ):
        assert [await hear(joins) for _ in waiting] == waiting
        await joins.claim(waiting[3])
        connections = proxy.connections
        proxy.cut()
        await eventually(lambda: proxy.connections > connections)
        # The claim went with the connection: the user waits again, and is to be seen.
        assert await hear(joins) == waiting[3]
        async with client.chat(await client.register("new")) as chat:
            # The Subscriber may have shown the user once more, before it had heard of the claim.
            while (request := await hear(joins)).chat_id != chat.chat_id:
                assert request == waiting[3]


async def test_a_claim_whose_answer_was_lost_is_void(
    waiting: list[JoinRequest], subscriber_service: Service, options: Options
) -> None:
    async with Proxy.to(subscriber_service.http) as proxy, JoinsClient(proxy.url, options=options) as joins:
        assert [await hear(joins) for _ in waiting] == waiting
        proxy.freeze()
        chunks = proxy.chunks_sent
        claim = asyncio.create_task(joins.claim(waiting[0]))
        await eventually(lambda: proxy.chunks_sent > chunks)
        proxy.cut()
        proxy.heal()
        with pytest.raises(NotAcknowledged):
            await claim
        await joins.claim(waiting[0])
