"""Agents with tokens, through the SDK."""

import asyncio
import time

import pytest

from live_support_client import (
    AlreadyClaimed,
    ChatClient,
    Forbidden,
    Joined,
    JoinRequest,
    JoinsClient,
    NotAuthenticated,
    Options,
)
from tests.helpers.sdk import hear
from tests.helpers.services import DEADLINE, UNIT, Service
from tests.helpers.tokens import SECRET, make_token

pytestmark = pytest.mark.given(agent_jwt_secret=SECRET)


async def shown(joins: JoinsClient) -> JoinRequest:
    async with asyncio.timeout(DEADLINE):
        return await anext(joins)


async def test_an_agent_with_a_token_claims_and_joins(
    client: ChatClient, subscriber_service: Service, options: Options
) -> None:
    user = await client.register("Nika")
    vika, ana = make_token("vika"), make_token("ana")
    async with (
        client.chat(user) as user_chat,
        JoinsClient(subscriber_service.http, token=vika, options=options) as joins,
    ):
        request = await shown(joins)
        await joins.claim(request)
        with pytest.raises(AlreadyClaimed):
            async with client.support_chat(request, name="Ana", token=ana):
                pass
        async with client.support_chat(request, name="Vika", token=vika) as support_chat:
            await support_chat.send("Hello!")
            with pytest.raises(Forbidden):
                async with client.support_chat(request, name="Ana", token=ana, support_id=support_chat.support_id):
                    pass
        assert isinstance(await hear(user_chat), Joined)
        joined = await hear(user_chat)
        assert isinstance(joined, Joined)
        assert user_chat.support_name == "Vika"


async def test_an_agent_without_a_valid_token_is_told_so(
    client: ChatClient, subscriber_service: Service, options: Options
) -> None:
    user = await client.register("Nika")
    async with client.chat(user), JoinsClient(subscriber_service.http, token=make_token(), options=options) as good:
        request = await shown(good)
        for token in (None, make_token(seconds=-1)):
            with pytest.raises(NotAuthenticated):
                async with JoinsClient(subscriber_service.http, token=token, options=options) as joins:
                    await shown(joins)
            with pytest.raises(NotAuthenticated):
                async with client.support_chat(request, name="Vika", token=token):
                    pass


async def test_the_end_of_a_token_ends_the_iteration(subscriber_service: Service, options: Options) -> None:
    token = make_token(exp=time.time() + 5 * UNIT)
    async with JoinsClient(subscriber_service.http, token=token, options=options) as joins:
        with pytest.raises(NotAuthenticated):
            await shown(joins)
