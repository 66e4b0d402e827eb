"""Fixtures: the parts of `live_support` that talk to Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis as Client

from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.redis.client import RedisClient
from live_support.settings import Settings
from tests.helpers.keys import make_redis


@pytest.fixture
async def client(redis_url: str, settings: Settings) -> AsyncIterator[Client]:  # noqa: ARG001 - deletes keys
    """A client of redis-py's, to look at what is stored; it answers bytes."""
    async with Client.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def redis_client(settings: Settings) -> AsyncIterator[RedisClient]:
    redis = make_redis(settings)
    yield redis
    await redis.close()


@pytest.fixture
def store(redis_client: RedisClient, settings: Settings) -> ChatStore:
    return ChatStore(redis_client, settings)


@pytest.fixture
def queue(redis_client: RedisClient, settings: Settings) -> JoinQueue:
    return JoinQueue(redis_client, settings)


@pytest.fixture
def sweeper(queue: JoinQueue, store: ChatStore, settings: Settings) -> Sweeper:
    return Sweeper(queue, store, settings)
