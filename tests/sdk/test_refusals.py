"""What the server refuses comes as an exception where it was asked for."""

import asyncio
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis

from api.app import create_service
from live_support.limits import Limits
from live_support.rate import Rate
from live_support.settings import Settings
from live_support_client import (
    ChatClient,
    ChatFull,
    ChatGone,
    ErrorArgs,
    Forbidden,
    InvalidInput,
    LiveSupportError,
    Options,
    RateLimited,
    Refused,
    RegisteredUser,
    TooLarge,
    Unavailable,
)
from tests.helpers.proxy import RedisProxy
from tests.helpers.sdk import hear_said, request_of
from tests.helpers.services import UNIT, eventually, make_settings, replace, serve

SCHEMAS = Path(__file__).parent.parent.parent / "schemas"


async def test_a_name_that_is_not_allowed(client: ChatClient) -> None:
    for attempt in (client.register, client.create_user):
        with pytest.raises(InvalidInput) as refused:
            await attempt("a" * 65)
        assert refused.value.code == "invalid"
        assert refused.value.message


@pytest.mark.given(join_rate=Rate("1/minute"))
async def test_registering_too_often_says_when_to_go_on(client: ChatClient) -> None:
    await client.register("Nika")
    with pytest.raises(RateLimited) as refused:
        await client.register("Nika")
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 60


async def test_texts_that_are_not_allowed(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        for text, error in ((" ", InvalidInput), ("\x07", InvalidInput), ("a" * 4001, TooLarge)):
            with pytest.raises(error):
                await chat.send(text)
        assert (await chat.send("a" * 4000)).content == "a" * 4000


@pytest.mark.given(message_rate=Rate("3/second"))
async def test_an_error_is_never_taken_for_another_messages(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        answers = await asyncio.gather(*(chat.send(str(number)) for number in range(10)), return_exceptions=True)
        stored = [answer.content for answer in answers if not isinstance(answer, BaseException)]
        limited = [answer for answer in answers if isinstance(answer, RateLimited)]
        assert len(stored) + len(limited) == 10
        assert limited
        assert all(error.retry_after for error in limited)
        assert await hear_said(chat, len(stored)) == stored


@pytest.mark.given(chat_max_messages=2)
async def test_a_full_chat(client: ChatClient) -> None:
    async with client.chat(await client.register("Nika")) as chat:
        await chat.send("one")
        await chat.send("two")
        with pytest.raises(ChatFull):
            await chat.send("three")


async def test_joins_that_are_refused(client: ChatClient) -> None:
    user = await client.register("Nika")
    with pytest.raises(Forbidden):
        async with client.chat(RegisteredUser(user_id="0" * 32, username="Nika", chat_id=user.chat_id)):
            pass
    with pytest.raises(ChatGone):
        async with client.chat(RegisteredUser(user_id=user.user_id, username="Nika", chat_id="0" * 32)):
            pass
    request = request_of(user)
    with pytest.raises(LiveSupportError):
        async with client.support_chat(request, name="\x07"):
            pass


async def is_well(client: ChatClient) -> bool:
    return (await client.health()).status == "ok"


async def test_an_outage_of_redis_is_told_and_survived(redis: Redis, redis_url: str, options: Options) -> None:
    assert await redis.ping()
    async with RedisProxy.to(redis_url) as proxy:
        settings: Settings = make_settings(proxy.url)
        settings = replace(settings, limits=Limits(store_seconds=2 * UNIT))
        async with (
            serve(create_service, settings) as service,
            ChatClient(service.http, options=options) as client,
            client.chat(await client.register("Nika")) as chat,
        ):
            await chat.send("before")
            proxy.refuse()
            with pytest.raises(Unavailable):
                await chat.send("during")
            with pytest.raises(Unavailable):
                await client.register("Nika")
            assert (await client.health()).status == "unavailable"
            proxy.heal()
            while True:
                try:
                    await chat.send("after")
                    break
                except Unavailable:
                    await asyncio.sleep(UNIT / 5)
            await eventually(lambda: is_well(client))  # an answer is shared for a moment


def test_every_error_code_has_its_exception() -> None:
    schema = json.loads((SCHEMAS / "chat.server.schema.json").read_text())["$defs"]["ErrorArgs"]
    ours = {"not_joined", "already_joined", "unknown_type"}  # would be mistakes of the SDK
    for code in schema["properties"]["code"]["examples"]:
        error = Refused.of(ErrorArgs(code=code, message="why", retry_after_ms=1500))
        assert (type(error) is Refused) == (code in ours)
        assert (error.code, error.message, str(error), error.retry_after) == (code, "why", "why", 1.5)
