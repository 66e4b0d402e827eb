"""What the integration tests run with: the settings of production, but for those that a test names."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

import api.app
import subscriber.app
from core.settings import Settings
from tests.conversation import Published
from tests.support import DEADLINE, Frame, Service, make_settings, serve


@pytest.fixture
async def published(redis: Redis) -> AsyncIterator[Published]:
    """Tells what was published on the channel `Join` since the test began."""

    async def collect() -> list[Frame]:
        await redis.publish("Join", "that is all")
        payloads: list[Frame] = []
        while True:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=DEADLINE)
            if message is None or message["data"] == "that is all":
                return payloads
            payloads.append(json.loads(message["data"]))

    async with redis.pubsub() as channel:
        await channel.subscribe("Join")
        assert (await channel.get_message(timeout=DEADLINE))["type"] == "subscribe"
        yield collect


# For modules whose tests only need a chat of their own: starting a service takes longer than most of them.
# Such a module says `pytestmark = pytest.mark.asyncio(loop_scope="module")`.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_settings(redis_url: str) -> Settings:
    async with Redis.from_url(redis_url) as client:
        async for key in client.scan_iter(match="live-support:*", count=1000):
            await client.unlink(key)
    return make_settings(redis_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_chat_server(shared_settings: Settings) -> AsyncIterator[Service]:
    async with serve(api.app.create_app, shared_settings) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_subscriber(shared_settings: Settings) -> AsyncIterator[Service]:
    async with serve(subscriber.app.create_app, shared_settings) as service:
        yield service
