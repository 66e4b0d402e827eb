"""Fixtures: the parts of `live_support` that talk to Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis as Client

from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.redis.client import Redis
from live_support.settings import Settings


@pytest.fixture
async def client(redis_url: str, settings: Settings) -> AsyncIterator[Client]:  # noqa: ARG001 - deletes keys
    """A client of redis-py's, to look at what is stored; it answers bytes."""
    async with Client.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def core_redis(settings: Settings) -> AsyncIterator[Redis]:
    redis = Redis(settings)
    yield redis
    await redis.close()


@pytest.fixture
def store(core_redis: Redis, settings: Settings) -> ChatStore:
    return ChatStore(core_redis, settings)


@pytest.fixture
def queue(core_redis: Redis, settings: Settings) -> JoinQueue:
    return JoinQueue(core_redis, settings)
