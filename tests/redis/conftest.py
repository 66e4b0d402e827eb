"""Fixtures: the parts of `core` that talk to Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis as Client

from core.join_queue import JoinQueue
from core.redis import Redis
from core.settings import Settings
from core.store import ChatStore


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
