"""Who may not join, how it is told, and what names and tokens have to do with it. Allowed joins are in test_joining."""

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.helpers.services import Service, http
from tests.helpers.wire import Frame, Socket, User, error_code, refusal, support_in_chat, talk_in, user_in_chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG = "0" * 32


async def outcome(shared_chat_server: Service, user: User, join: Frame) -> tuple[list[Frame], int]:
    """What a connection is told that is closed on its `Join`, and the code."""
    async with user.chat(shared_chat_server) as socket:
        await socket.send(join)
        told: tuple[list[Frame], int] = await socket.drain()
        return told


async def refused_with(shared_chat_server: Service, user: User, join: Frame) -> tuple[str, int]:
    """The only error of such a connection, and the code."""
    (error,), code = await outcome(shared_chat_server, user, join)
    return error_code(error), code


# Not this participant.


@pytest.mark.parametrize("before_any_agent", [True, False], ids=["before any agent", "with an agent"])
async def test_a_user_with_a_wrong_user_id_is_refused(shared_chat_server: Service, before_any_agent: bool) -> None:
    async with user_in_chat(shared_chat_server) as (user, socket):
        if not before_any_agent:
            async with support_in_chat(shared_chat_server, user, socket):
                pass
        assert await refused_with(shared_chat_server, user, user.join(userId=WRONG)) == ("forbidden", 4503)


async def test_the_user_of_another_chat_is_refused(shared_chat_server: Service) -> None:
    nika, other = await User.register(shared_chat_server), await User.register(shared_chat_server)
    assert await refused_with(shared_chat_server, nika, other.join()) == ("forbidden", 4503)


async def test_a_support_with_a_wrong_user_id_is_refused(shared_chat_server: Service) -> None:
    async with user_in_chat(shared_chat_server) as (user, _):
        assert await refused_with(shared_chat_server, user, user.support_join(userId=WRONG)) == ("forbidden", 4503)


async def test_a_support_with_a_support_id_in_a_chat_without_an_agent_is_refused(shared_chat_server: Service) -> None:
    async with user_in_chat(shared_chat_server) as (user, _):
        assert await refused_with(shared_chat_server, user, user.support_join(supportId=WRONG)) == ("forbidden", 4503)


async def test_a_support_with_a_wrong_support_id_is_refused(shared_chat_server: Service) -> None:
    async with talk_in(shared_chat_server) as talk:
        join = talk.user.support_join(supportId=WRONG)
        assert await refused_with(shared_chat_server, talk.user, join) == ("forbidden", 4503)


async def test_a_second_support_is_told_that_the_chat_is_taken(shared_chat_server: Service) -> None:
    async with talk_in(shared_chat_server) as talk:
        join = talk.user.support_join(supportUserName="Mila")
        assert await refused_with(shared_chat_server, talk.user, join) == ("already_claimed", 4511)


@pytest.mark.parametrize(
    "change",
    [{"userId": WRONG}, {"userId": WRONG, "from": "Support"}, {"supportId": WRONG, "from": "Support"}],
    ids=["user", "support with a wrong userId", "support with a wrong supportId"],
)
async def test_nobody_in_the_chat_hears_of_a_refused_join(shared_chat_server: Service, change: dict[str, Any]) -> None:
    async with talk_in(shared_chat_server) as talk:
        await refused_with(shared_chat_server, talk.user, talk.user.join(**change))
        await refused_with(shared_chat_server, talk.user, talk.user.support_join())
        await talk.goes_on()


async def test_a_refused_support_does_not_take_the_chat(shared_chat_server: Service) -> None:
    async with user_in_chat(shared_chat_server) as (user, socket):
        await refused_with(shared_chat_server, user, user.support_join(userId=WRONG))
        async with support_in_chat(shared_chat_server, user, socket):
            pass


# No such chat.


@pytest.mark.parametrize("change", [{}, {"userId": WRONG}], ids=["registered elsewhere", "unknown userId"])
async def test_a_user_of_an_unknown_chat_is_told_that_it_has_expired(
    shared_chat_server: Service, change: dict[str, Any]
) -> None:
    user = (await User.register(shared_chat_server))._replace(chatId=WRONG)
    assert await outcome(shared_chat_server, user, user.join(**change)) == ([user.expired], 4510)


@pytest.mark.parametrize("change", [{}, {"supportId": WRONG}], ids=["first", "again"])
async def test_a_support_of_an_unknown_chat_is_told_that_it_has_expired(
    shared_chat_server: Service, change: dict[str, Any]
) -> None:
    user = (await User.register(shared_chat_server))._replace(chatId=WRONG)
    assert await outcome(shared_chat_server, user, user.support_join(**change)) == ([user.expired], 4510)


@pytest.mark.parametrize(
    "chat_id",
    ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "%0A", "a" * 16 + "/" + "a" * 15, "%D9%A0" * 32],
    ids=["empty", "short", "long", "upper case", "no hex", "line end", "slash", "other digits"],
)
async def test_a_malformed_chat_id_is_refused_at_the_handshake(shared_chat_server: Service, chat_id: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with Socket.open(f"{shared_chat_server.ws}/chat/{chat_id}"):
            pass
    assert refused.value.response.status_code == 404


# Names.


@pytest.mark.parametrize("change", [{"username": "Somebody else"}, {"username": ""}], ids=["other", "empty"])
async def test_the_username_of_a_join_is_only_carried(shared_chat_server: Service, change: dict[str, Any]) -> None:
    user = await User.register(shared_chat_server)
    async with user.chat(shared_chat_server) as socket:
        await socket.send(user.join(**change))
        assert await socket.receive() == user.joined


@pytest.mark.parametrize(
    ("given", "shown"),
    [("Vika", "Vika"), (" Vika\t", "Vika"), ("Rene\u0301", "Ren\u00e9"), ("e\u0301" * 64, "\u00e9" * 64)],
    ids=["plain", "trimmed", "NFC", "longest"],
)
async def test_the_support_user_name_is_shown_cleaned(shared_chat_server: Service, given: str, shown: str) -> None:
    async with user_in_chat(shared_chat_server) as (user, user_socket), user.chat(shared_chat_server) as socket:
        await socket.send(user.support_join(supportUserName=given))
        assert (await socket.receive())["args"]["supportUserName"] == shown
        assert (await user_socket.receive())["args"]["supportUserName"] == shown


@pytest.mark.parametrize(
    "name",
    [None, "", " \n", "V" * 65, "Vi\nka", "Vi\u0000ka", "Vi\u202eka", "Vi\u2066ka"],
    ids=["none", "empty", "white space", "long", "line end", "NUL", "bidi override", "bidi isolate"],
)
async def test_a_support_without_a_proper_name_may_try_again(shared_chat_server: Service, name: str | None) -> None:
    async with user_in_chat(shared_chat_server) as (user, user_socket), user.chat(shared_chat_server) as socket:
        assert await refusal(user.support_join(supportUserName=name), socket) == "invalid"
        await socket.send(user.support_join())
        joined = await socket.receive()
        assert joined["args"]["supportUserName"] == "Vika"
        assert await user_socket.receive() == joined


async def test_a_support_needs_no_name_to_join_again(shared_chat_server: Service) -> None:
    async with (
        talk_in(shared_chat_server) as talk,
        talk.tab(talk.user.support_join(supportId=talk.support_id, supportUserName=None)) as tab,
    ):
        await talk.goes_on(tab)


# Tokens.


async def user_with_token(shared_chat_server: Service) -> tuple[User, str]:
    response = await http("POST", f"{shared_chat_server.http}/users", json={"username": "Nika"})
    assert response.status_code == 201
    registered = response.json()
    token = registered.pop("token")
    return User(**registered), token


async def test_the_token_of_the_chat_opens_it_again_and_again(shared_chat_server: Service) -> None:
    user, token = await user_with_token(shared_chat_server)
    for _ in range(2):
        async with user.chat(shared_chat_server) as socket:
            await socket.send(user.join(token=token))
            assert await socket.receive() == user.joined


@pytest.mark.parametrize("change", [{}, {"token": None}, {"token": ""}, {"token": "x" * 32}])
async def test_a_chat_with_a_token_is_closed_without_it(shared_chat_server: Service, change: dict[str, Any]) -> None:
    user, token = await user_with_token(shared_chat_server)
    assert await refused_with(shared_chat_server, user, user.join(**change)) == ("forbidden", 4503)
    async with user.chat(shared_chat_server) as socket:
        await socket.send(user.join(token=token))
        assert await socket.receive() == user.joined
    assert await refused_with(shared_chat_server, user, user.join(**change)) == ("forbidden", 4503)


async def test_a_support_needs_no_token_of_the_user(shared_chat_server: Service) -> None:
    user, token = await user_with_token(shared_chat_server)
    async with user.chat(shared_chat_server) as socket:
        await socket.send(user.join(token=token))
        await socket.receive()
        async with support_in_chat(shared_chat_server, user, socket):
            pass


async def test_a_token_that_the_chat_does_not_need_does_no_harm(shared_chat_server: Service) -> None:
    user = await User.register(shared_chat_server)
    async with user.chat(shared_chat_server) as socket:
        await socket.send(user.join(token="x" * 32))
        assert await socket.receive() == user.joined
