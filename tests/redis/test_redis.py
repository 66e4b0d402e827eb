"""The connection to Redis: what is tried again, for how long, and what a client then hears."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.exceptions import BusyLoadingError, NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.rate import AddressRate
from core.redis import Redis
from core.settings import Limits, Rate, Settings
from core.store import ChatStore
from schemas.errors import Unavailable
from tests.chats import Chat
from tests.proxy import Proxy
from tests.support import UNIT, eventually, replace

DEADLINE_SECONDS = 3 * UNIT
"""How long the Redis of these tests tries to store something."""


@pytest.fixture
async def hasty(settings: Settings) -> AsyncIterator[Redis]:
    """A Redis that soon gives up."""
    redis = Redis(replace(settings, limits=Limits(store_seconds=DEADLINE_SECONDS)))
    yield redis
    await redis.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy.to(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def behind_proxy(proxy: Proxy, settings: Settings) -> AsyncIterator[Redis]:
    redis = Redis(replace(settings, redis_url=proxy.url))
    yield redis
    await redis.close()


def failing(*errors: Exception) -> tuple[Callable[[], Awaitable[str]], list[Exception]]:
    """A command that raises these errors, the last one again and again, and the tries so far.

    An empty list of errors is an answer.
    """
    tries: list[Exception] = []

    async def command() -> str:
        if len(tries) < len(errors):
            tries.append(errors[len(tries)])
            raise tries[-1]
        return "answer"

    return command, tries


def always(error: Exception) -> tuple[Callable[[], Awaitable[str]], list[Exception]]:
    return failing(*[error] * 1000)


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError(),
        RedisTimeoutError(),
        BusyLoadingError(),
        ReadOnlyError(),
        NoScriptError(),
        ConnectionResetError(),
    ],
)
async def test_a_transient_error_is_tried_again(core_redis: Redis, error: Exception) -> None:
    command, tries = failing(error, error)
    assert await core_redis.call(command) == "answer"
    assert len(tries) == 2


async def test_after_the_deadline_redis_is_unavailable(hasty: Redis) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    command, tries = always(RedisConnectionError())
    with pytest.raises(Unavailable):
        await hasty.call(command)
    assert loop.time() - started > 0.9 * DEADLINE_SECONDS
    assert len(tries) > 1


async def test_a_command_that_hangs_ends_at_the_deadline(hasty: Redis) -> None:
    with pytest.raises(Unavailable):
        await hasty.call(asyncio.Event().wait)


async def test_while_redis_is_away_there_is_one_try(hasty: Redis) -> None:
    with pytest.raises(Unavailable):
        await hasty.call(always(RedisConnectionError())[0])
    command, tries = always(RedisConnectionError())
    with pytest.raises(Unavailable):
        await hasty.call(command)
    assert len(tries) == 1


async def test_an_answer_means_that_redis_is_back(hasty: Redis) -> None:
    with pytest.raises(Unavailable):
        await hasty.call(always(RedisConnectionError())[0])
    assert await hasty.call(failing()[0]) == "answer"
    command, tries = failing(RedisConnectionError())
    assert await hasty.call(command) == "answer"
    assert len(tries) == 1


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("BUSY Redis is busy running a script."),
    ],
    ids=lambda error: str(error).split()[0],
)
async def test_a_redis_that_takes_no_writes_is_unavailable_at_once_but_not_away(hasty: Redis, error: Exception) -> None:
    command, tries = always(error)
    with pytest.raises(Unavailable):
        await hasty.call(command)
    assert len(tries) == 1
    assert await hasty.call(failing(RedisConnectionError())[0]) == "answer"


async def test_a_mistake_of_ours_is_not_tried_again(hasty: Redis) -> None:
    command, tries = always(ResponseError())
    with pytest.raises(ResponseError):
        await hasty.call(command)
    assert len(tries) == 1


async def test_ping_says_why_redis_cannot_be_used(behind_proxy: Redis, proxy: Proxy) -> None:
    assert await behind_proxy.ping() is None
    proxy.refuse()
    assert await behind_proxy.ping() == "Redis does not answer: ConnectionError"
    proxy.heal()
    assert await behind_proxy.ping() is None


# Scripts.


async def test_a_script_that_redis_forgot_is_loaded_again(store: ChatStore, core_redis: Redis) -> None:
    chat = await Chat.open(store)
    await chat.say("one")
    await core_redis.client.script_flush()
    await chat.say("two")
    assert len(await chat.log()) == 2


async def test_an_append_whose_answer_was_lost_is_stored_once(
    behind_proxy: Redis, proxy: Proxy, settings: Settings
) -> None:
    chat = await Chat.open(ChatStore(behind_proxy, settings))
    await chat.say("one")
    proxy.replies_to_lose = 1
    await chat.say("two")
    assert proxy.replies_to_lose == 0
    assert [entry.offset for entry in await chat.log()] == [1, 2]


async def test_a_message_for_which_there_is_no_memory_is_refused(store: ChatStore, core_redis: Redis) -> None:
    chat = await Chat.open(store)
    limit = (await core_redis.client.config_get("maxmemory"))["maxmemory"] or 0
    await core_redis.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await chat.say("hey")
    finally:
        await core_redis.client.config_set("maxmemory", limit)
    assert await chat.log() == []


async def test_more_commands_than_connections_wait_for_each_other(store: ChatStore) -> None:
    chat = await Chat.open(store)
    await asyncio.gather(*(chat.say(str(number)) for number in range(500)))
    assert len(await chat.log()) == 500


# The rate of an address.


async def test_an_address_has_a_burst_and_then_waits(core_redis: Redis) -> None:
    rate = AddressRate(core_redis, Rate("3/hour"))
    assert [await rate.take("192.0.2.1") for _ in range(3)] == [0, 0, 0]
    assert 0 < await rate.take("192.0.2.1") <= 20 * 60 * 1000


async def test_each_address_has_a_bucket_of_its_own(core_redis: Redis) -> None:
    rate = AddressRate(core_redis, Rate("1/hour"))
    assert [await rate.take(address) for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1")] == [0, 0, 0]


async def test_all_processes_share_the_bucket_of_an_address(core_redis: Redis, hasty: Redis) -> None:
    rates = [AddressRate(redis, Rate("2/hour")) for redis in (core_redis, hasty)]
    assert [await rate.take("192.0.2.1") for rate in rates] == [0, 0]
    assert await rates[0].take("192.0.2.1") > 0


async def test_of_many_takes_at_once_as_many_pass_as_the_bucket_holds(core_redis: Redis) -> None:
    rate = AddressRate(core_redis, Rate("10/hour"))
    waits = await asyncio.gather(*(rate.take("192.0.2.1") for _ in range(100)))
    assert waits.count(0) == 10


async def test_what_was_taken_comes_back(core_redis: Redis) -> None:
    rate = AddressRate(core_redis, Rate("20/second"))
    while not await rate.take("192.0.2.1"):
        pass

    async def is_back() -> bool:
        return await rate.take("192.0.2.1") == 0

    await eventually(is_back)


async def test_a_bucket_that_is_full_again_leaves_no_key(core_redis: Redis) -> None:
    assert await AddressRate(core_redis, Rate("20/second")).take("192.0.2.1") == 0

    async def is_gone() -> bool:
        return not await core_redis.client.keys("live-support:rate:*")

    await eventually(is_gone)
