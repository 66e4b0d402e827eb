"""Where agents need tokens: who may see the waiting users, claim them and join their chats, and for how long."""

import asyncio
import time
from typing import Any

import pytest

from tests.helpers.services import UNIT, Service, eventually
from tests.helpers.tokens import OTHER_SECRET, SECRET, as_browser, bearer, make_token
from tests.helpers.wire import Frame, Socket, Talk, User, agent_socket, refusal, request_comes_next, say, user_in_chat

pytestmark = pytest.mark.given(agent_jwt_secret=SECRET)

VIKA, ANA = bearer(make_token("vika")), bearer(make_token("ana"))

INVALID: dict[str, dict[str, Any]] = {
    "none": {},
    "another header": {"additional_headers": {"Authorization": f"Basic {make_token()}"}},
    "an empty header": {"additional_headers": {"Authorization": "Bearer"}},
    "no token": bearer("vika"),
    "over": bearer(make_token(seconds=-1)),
    "another key": bearer(make_token(key=OTHER_SECRET)),
    "another scope": bearer(make_token(scope="user")),
    "in a browser": as_browser(make_token(seconds=-1), "live-support.v1"),
    "two": {"subprotocols": [f"bearer.{make_token('vika')}", f"bearer.{make_token('ana')}"]},
    "a good one behind a bad one": {**bearer("vika"), **as_browser(make_token())},
}


async def joined(socket: Socket, user: User, **more: Any) -> Frame:
    """Join as a Support who is let in; return the answer's args."""
    await socket.send(user.support_join(**more))
    answer = await socket.receive()
    assert answer["type"] == "Joined", answer
    args: Frame = answer["args"]
    return args


async def refused(socket: Socket, frame: Frame) -> tuple[str | None, int]:
    """Join as somebody who is not let in; return the code of the `Error`, if there is one, and of the close."""
    await socket.send(frame)
    errors, code = await socket.drain()
    assert [error["type"] for error in errors] in ([], ["Error"])
    return errors[0]["args"]["code"] if errors else None, code


@pytest.mark.parametrize("name", INVALID)
async def test_without_a_valid_token_nobody_is_an_agent(
    chat_server: Service, subscriber_service: Service, name: str
) -> None:
    async with user_in_chat(chat_server) as (user, user_socket), agent_socket(subscriber_service, **VIKA) as vika:
        assert await vika.receive() == user.request
        async with agent_socket(subscriber_service, **INVALID[name]) as joins:
            assert await joins.close_code() == 4501
        async with user.chat(chat_server, **INVALID[name]) as socket:
            assert await refused(socket, user.support_join()) == (None, 4501)
        # Neither has done anything: the user still waits, and has heard of nobody.
        await vika.send(user.userId)
        async with user.chat(chat_server, **VIKA) as socket:
            support = await joined(socket, user)
        assert (await user_socket.receive())["args"] == support


@pytest.mark.parametrize("options", [VIKA, as_browser(make_token(), "live-support.v1"), as_browser(make_token())])
async def test_an_agent_with_a_token_works_as_without(
    chat_server: Service, subscriber_service: Service, options: dict[str, Any]
) -> None:
    async with user_in_chat(chat_server) as (user, user_socket):
        async with agent_socket(subscriber_service, **options) as joins:
            assert await joins.receive() == user.request
            await joins.send(user.userId)
            async with user.chat(chat_server, **options) as socket:
                support = await joined(socket, user)
                assert (await user_socket.receive())["args"] == support
                await say(user.hears("Hello!", support["supportId"]), socket, user_socket)
        async with user.chat(chat_server, **options) as socket:
            await socket.send(user.support_join(supportId=support["supportId"]))
            assert (await socket.receive())["type"] == "ChatHistory"


async def test_the_selected_version_is_never_the_token(chat_server: Service, subscriber_service: Service) -> None:
    user = await User.register(chat_server)
    token = make_token()
    for offered, selected in [
        (as_browser(token), None),
        (as_browser(token, "live-support.v1"), "live-support.v1"),
        (as_browser(token, "live-support.v2", "live-support.v1"), "live-support.v1"),
        (as_browser(token, "live-support.v2"), None),
        ({"subprotocols": ["chat"]}, None),
    ]:
        async with agent_socket(subscriber_service, **offered) as joins, user.chat(chat_server, **offered) as socket:
            assert (joins.connection.subprotocol, socket.connection.subprotocol) == (selected, selected)


async def test_a_user_needs_no_token_and_a_bad_one_does_not_matter(chat_server: Service) -> None:
    user = await User.register(chat_server)
    for options in ({}, bearer("nonsense"), as_browser("nonsense")):
        async with user.chat(chat_server, **options) as socket:
            await socket.send(user.join())
            assert await socket.receive() == user.joined


async def test_the_name_of_the_token_is_what_the_user_sees(chat_server: Service) -> None:
    user = await User.register(chat_server)
    async with user.chat(chat_server, **bearer(make_token(name="Victoria"))) as socket:
        assert (await joined(socket, user, supportUserName="The boss"))["supportUserName"] == "Victoria"


@pytest.mark.parametrize("name", ["x" * 65, "\u202eanimal", " ", 7])
async def test_a_name_of_the_token_that_is_none_here_locks_nobody_out(chat_server: Service, name: object) -> None:
    user = await User.register(chat_server)
    async with user.chat(chat_server, **bearer(make_token(name=name))) as socket:
        assert (await joined(socket, user, supportUserName="Vika"))["supportUserName"] == "Vika"


@pytest.mark.given(agent_jwt_secret=SECRET, agent_jwt_scope_claim="roles", agent_jwt_scope="Support.Agent")
async def test_the_provider_may_call_an_agent_otherwise(chat_server: Service, subscriber_service: Service) -> None:
    theirs = bearer(make_token(scope=None, roles=["User", "Support.Agent"]))
    async with user_in_chat(chat_server) as (user, _):
        async with agent_socket(subscriber_service, **VIKA) as joins:
            assert await joins.close_code() == 4501
        async with agent_socket(subscriber_service, **theirs) as joins, user.chat(chat_server, **theirs) as socket:
            assert await joins.receive() == user.request
            await joined(socket, user)


async def test_only_the_agent_who_claimed_a_user_may_join(chat_server: Service, subscriber_service: Service) -> None:
    async with user_in_chat(chat_server) as (user, user_socket), agent_socket(subscriber_service, **VIKA) as joins:
        assert await joins.receive() == user.request
        await joins.send(user.userId)
        assert await refusal("that is no id", joins) == "invalid"  # so the claim is won
        async with user.chat(chat_server, **ANA) as socket:
            assert await refused(socket, user.support_join()) == ("already_claimed", 4511)
        async with user.chat(chat_server, **VIKA) as socket:
            support = await joined(socket, user)
            assert (await user_socket.receive())["args"] == support


async def test_a_claim_that_is_given_back_holds_nobody(chat_server: Service, subscriber_service: Service) -> None:
    async with user_in_chat(chat_server) as (user, _):
        async with agent_socket(subscriber_service, **VIKA) as joins:
            assert await joins.receive() == user.request
            await joins.send(user.userId)
            assert await refusal("that is no id", joins) == "invalid"
        async with agent_socket(subscriber_service, **ANA) as joins:
            assert await joins.receive() == user.request  # so it was given back
        async with user.chat(chat_server, **ANA) as socket:
            await joined(socket, user)


@pytest.mark.given(claim_lease_seconds=UNIT)
async def test_a_claim_whose_lease_is_over_holds_nobody(chat_server: Service, subscriber_service: Service) -> None:
    async with user_in_chat(chat_server) as (user, _), agent_socket(subscriber_service, **VIKA) as joins:
        assert await joins.receive() == user.request
        await joins.send(user.userId)
        assert await joins.receive() == user.request  # back in the queue
        async with user.chat(chat_server, **ANA) as socket:
            await joined(socket, user)


REFUSED: dict[str, dict[str, Any]] = {
    "without a name": {"supportUserName": None},
    "with an empty name": {"supportUserName": ""},
    "with a name of nothing": {"supportUserName": "  "},
    "another user": {"userId": "0" * 32},
    "a Support whom the chat does not have": {"supportId": "0" * 32},
}


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
async def test_a_join_that_is_refused_changes_nothing_that_others_see(
    chat_server: Service, subscriber_service: Service, attempt: Frame
) -> None:
    async with user_in_chat(chat_server) as (user, user_socket), agent_socket(subscriber_service, **VIKA) as vika:
        assert await vika.receive() == user.request

        async def try_to_join() -> None:
            async with user.chat(chat_server, **ANA) as socket:
                await socket.send(user.support_join(**attempt))
                assert (await socket.receive())["type"] == "Error"

        for _ in range(5):
            await asyncio.gather(*(try_to_join() for _ in range(4)))
        await request_comes_next(chat_server, vika)
        async with agent_socket(subscriber_service, **ANA) as ana:
            assert await ana.receive() == user.request
        await vika.send(user.userId)
        async with user.chat(chat_server, **VIKA) as socket:
            support = await joined(socket, user)
        assert (await user_socket.receive())["args"] == support


async def test_an_agent_cannot_hold_a_user_through_another_chat(
    chat_server: Service, subscriber_service: Service
) -> None:
    async with user_in_chat(chat_server) as (user, _), user_in_chat(chat_server) as (other, _):
        async with other.chat(chat_server, **ANA) as socket:
            assert await refused(socket, user.support_join()) == ("forbidden", 4503)
        async with agent_socket(subscriber_service, **VIKA) as joins:
            assert await joins.receive_some(2) == [user.request, other.request]
            await joins.send(user.userId)
            async with user.chat(chat_server, **VIKA) as socket:
                await joined(socket, user)


async def test_only_the_same_agent_may_join_again(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, user_socket), user.chat(chat_server, **VIKA) as vika:
        support = await joined(vika, user)
        await user_socket.receive()
        rejoin = user.support_join(supportId=support["supportId"])
        async with user.chat(chat_server, **ANA) as socket:
            assert await refused(socket, rejoin) == ("forbidden", 4503)
        async with user.chat(chat_server, **ANA) as socket:
            assert await refused(socket, user.support_join()) == ("already_claimed", 4511)
        # A fresh token of the same agent's is as good.
        async with user.chat(chat_server, **bearer(make_token("vika", seconds=60))) as socket:
            await socket.send(rejoin)
            assert (await socket.receive())["type"] == "ChatHistory"
            talk = Talk(chat_server, user, support["supportId"], user_socket, vika)
            await talk.goes_on(socket)


async def test_an_agent_who_lost_everything_but_the_token_comes_back_at_any_time(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, user_socket), user.chat(chat_server, **VIKA) as vika:
        support = await joined(vika, user)
        await user_socket.receive()
        said = await say(user.hears("Hello!", support["supportId"]), vika, user_socket)
        # The first connection still stands, and it has spoken; even the name may be another one.
        talk = Talk(chat_server, user, support["supportId"], user_socket, vika)
        for name in ("Vika", "Victoria", None):
            async with user.chat(chat_server, **bearer(make_token("vika", seconds=60))) as again:
                assert await joined(again, user, supportUserName=name) == support
                history = await again.receive()
                assert history["type"] == "ChatHistory"
                assert history["args"]["messages"][0] == said
                await talk.goes_on(again)
            async with user.chat(chat_server, **ANA) as other:
                assert await refused(other, user.support_join(supportUserName=name)) == ("already_claimed", 4511)
        await talk.goes_on()


NO_NAMES = ["x" * 65, "Vi\u0007ka", "\u202eakiV", " \t ", "\u00a0"]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_a_name_of_the_token_that_is_none_is_passed_over(chat_server: Service, name: str) -> None:
    user = await User.register(chat_server)
    async with user.chat(chat_server, **bearer(make_token(name=name))) as socket:
        assert (await joined(socket, user))["supportUserName"] == "Vika"


async def test_a_name_of_the_token_that_is_none_does_not_make_up_for_a_missing_one(chat_server: Service) -> None:
    user = await User.register(chat_server)
    async with user.chat(chat_server, **bearer(make_token(name="x" * 65))) as socket:
        assert await refusal(user.support_join(supportUserName=None), socket) == "invalid"
        assert await joined(socket, user)


async def test_a_connection_ends_with_its_token(chat_server: Service, subscriber_service: Service) -> None:
    end = time.time() + 10 * UNIT
    options = bearer(make_token(exp=end))
    async with user_in_chat(chat_server) as (user, user_socket):
        async with agent_socket(subscriber_service, **options) as joins, user.chat(chat_server, **options) as socket:
            assert await joins.receive() == user.request
            support = await joined(socket, user)
            await user_socket.receive()
            codes = await asyncio.gather(joins.close_code(), socket.close_code())
            assert list(codes) == [4501, 4501]
            assert time.time() >= end - UNIT / 10
        # The user's connection stays, and the agent may come back with a fresh token.
        async with user.chat(chat_server, **VIKA) as socket:
            await socket.send(user.support_join(supportId=support["supportId"]))
            assert (await socket.receive())["type"] == "ChatHistory"
            await say(user.says("Hey"), user_socket, socket)


async def test_the_token_of_a_handshake_must_still_hold_at_the_join(chat_server: Service) -> None:
    async with user_in_chat(chat_server) as (user, _):
        end = time.time() + 2 * UNIT
        async with user.chat(chat_server, **bearer(make_token(exp=end))) as socket:
            await eventually(lambda: time.time() > end)
            assert await refused(socket, user.support_join()) == (None, 4501)
