"""Every role tries everything that is not its own: it is refused with the documented code, and nobody hears of it.

The rules are written down once more here, in `refused_join` and `refused_message`, and every combination of a chat, a
participant, ids and credentials is tried against them.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

import api.app
import subscriber.app
from tests.helpers.services import Service, http, make_settings, serve
from tests.helpers.tokens import OTHER_SECRET, SECRET, as_browser, bearer, make_token
from tests.helpers.wire import Frame, Socket, Talk, User, agent_socket, refusal, say, user_in_chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = "0" * 32

VIKA, MILA = make_token("vika"), make_token("mila")
CREDENTIALS: dict[str, dict[str, Any]] = {
    "none": {},
    "over": bearer(make_token("vika", seconds=-1)),
    "another key": bearer(make_token("vika", key=OTHER_SECRET)),
    "another scope": bearer(make_token("vika", scope="user")),
    "vika": bearer(VIKA),
    "mila": as_browser(MILA, "live-support.v1"),
}
AGENTS = ("vika", "mila")


class Party(NamedTuple):
    """A chat, and what the server knows of it."""

    user: User
    socket: Socket
    token: str | None = None
    support_id: str | None = None
    agent: str | None = None
    """Who is its Support, or has claimed its user."""


class World(NamedTuple):
    """Chats in every state, and whoever could hear of what is tried."""

    chat_server: Service
    subscriber: Service
    talk: Talk
    vika: Socket
    mila: Socket
    chats: dict[str, Party]

    async def nobody_has_heard(self) -> None:
        """Let everybody get a frame, which must be their very next."""
        await say(self.talk.user.says("Hey"), self.talk.user_socket, self.talk.support_socket)
        await say(self.talk.user.hears("Hello", self.talk.support_id), self.talk.support_socket, self.talk.user_socket)
        for name in ("waiting", "claimed", "with a token"):
            await say(self.chats[name].user.says("Is anybody there?"), self.chats[name].socket)
        async with user_in_chat(self.chat_server) as (newest, _):
            for feed in (self.vika, self.mila):
                assert await feed.receive() == newest.request


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(redis_url: str) -> AsyncIterator[World]:
    # The chats stay as they are for as long as the module runs.
    settings = make_settings(
        redis_url, agent_jwt_secret=SECRET, chat_ttl_seconds=3600, idle_seconds=3600, claim_lease_seconds=3600
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        chat_server = await enter(serve(api.app.create_service, settings))
        joins_service = await enter(serve(subscriber.app.create_service, settings))
        active, active_socket = await enter(user_in_chat(chat_server))
        support_socket = await enter(active.chat(chat_server, **bearer(VIKA)))
        await support_socket.send(active.support_join())
        joined = await support_socket.receive()
        assert await active_socket.receive() == joined
        talk = Talk(chat_server, active, joined["args"]["supportId"], active_socket, support_socket)
        waiting = await enter(user_in_chat(chat_server))
        claimed = await enter(user_in_chat(chat_server))
        registered = (await http("POST", f"{chat_server.http}/users", json={"username": "Ana"})).json()
        token = registered.pop("token")
        with_token = User(**registered)
        with_token_socket = await enter(with_token.chat(chat_server))
        await with_token_socket.send(with_token.join(token=token))
        assert await with_token_socket.receive() == with_token.joined
        vika, mila = [await enter(agent_socket(joins_service, **bearer(each))) for each in (VIKA, MILA)]
        for feed in (vika, mila):
            while await feed.receive() != with_token.request:
                pass
        await vika.send(claimed[0].userId)
        assert await refusal("that is no id", vika) == "invalid"  # so the claim is won
        chats = {
            "active": Party(talk.user, talk.user_socket, support_id=talk.support_id, agent="vika"),
            "waiting": Party(*waiting),
            "claimed": Party(*claimed, agent="vika"),
            "with a token": Party(with_token, with_token_socket, token=token),
        }
        world = World(chat_server, joins_service, talk, vika, mila, chats)
        await world.nobody_has_heard()
        yield world


# Joining.


def refused_join(
    chat: Party | None, sender: str, user_id: str, support_id: str | None, token: str | None, credentials: str
) -> tuple[str | None, int] | None:
    """How a `Join` is refused: the code of the `Error` and that of the close; None if it is allowed."""
    if sender == "Support" and credentials not in AGENTS:
        return None, 4501
    if chat is None:
        return "expired", 4510
    if user_id != chat.user.userId:
        return "forbidden", 4503
    if sender == "User":
        return None if chat.token in (None, token) else ("forbidden", 4503)
    if support_id is not None:
        return None if (chat.support_id, chat.agent) == (support_id, credentials) else ("forbidden", 4503)
    # With the token of the chat's own agent no id is needed.
    return None if chat.agent in (None, credentials) else ("already_claimed", 4511)


async def outcome(world: World, chat_id: str, join: Frame, credentials: str) -> tuple[str | None, int]:
    """How it is refused."""
    url = f"{world.chat_server.ws}/chat/{chat_id}"
    async with Socket.open(url, **CREDENTIALS[credentials]) as socket:
        await socket.send(join)
        frames, code = await socket.drain()
    assert len(frames) <= 1
    if not frames:
        return None, code
    if frames[0]["type"] == "ChatExpired":
        assert frames[0]["args"] == {"chatId": chat_id}
        return "expired", code
    assert frames[0]["type"] == "Error"
    assert set(frames[0]["args"]) == {"code", "message"}
    return frames[0]["args"]["code"], code


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("state", ["active", "waiting", "claimed", "with a token", "unknown"])
async def test_nobody_joins_as_somebody_else(world: World, state: str, credentials: str) -> None:
    chat = world.chats.get(state)
    chat_id = chat.user.chatId if chat else NOBODY
    stranger = await User.register(world.chat_server)
    user_ids = [*(party.user.userId for party in world.chats.values()), stranger.userId, NOBODY]
    # Ids of other kinds are ids, too: what an agent knows of a user, a user of an agent, and both of the chat.
    support_ids = [None, world.talk.support_id, NOBODY, user_ids[0]]
    tokens = [None, world.chats["with a token"].token, VIKA]
    refused = 0
    for sender, user_id, support_id, token in itertools.product(("User", "Support"), user_ids, support_ids, tokens):
        expected = refused_join(chat, sender, user_id, support_id, token, credentials)
        if expected is None:
            continue
        given = {"userId": user_id, "username": "Eve", "supportUserName": "Eve", "from": sender}
        optional = {"supportId": support_id, "token": token}
        args = given | {key: value for key, value in optional.items() if value is not None}
        refused += 1
        assert await outcome(world, chat_id, {"type": "Join", "args": args}, credentials) == expected, args
    assert refused > 100
    await world.nobody_has_heard()


# Talking.


def refused_message(party: Party, role: str, frame: Frame) -> str | None:
    """The code of the `Error` for a message on a joined connection; None if it is allowed."""
    args = frame["args"]
    if args["from"] not in ("User", "Support") or (args["from"] == "Support" and "supportId" not in args):
        return "invalid"
    if args["from"] != role or args["userId"] != party.user.userId:
        return "forbidden"
    return None if args.get("supportId", party.support_id) == party.support_id else "forbidden"


@pytest.mark.parametrize(("state", "role"), [("active", "User"), ("active", "Support"), ("waiting", "User")])
async def test_nobody_speaks_as_somebody_else(world: World, state: str, role: str) -> None:
    party = world.chats[state]
    socket = world.talk.support_socket if role == "Support" else party.socket
    user_ids = [*(each.user.userId for each in world.chats.values()), NOBODY, world.talk.support_id]
    support_ids = [None, world.talk.support_id, NOBODY, party.user.userId]
    refused = 0
    for sender, user_id, support_id in itertools.product(("User", "Support", "Server"), user_ids, support_ids):
        args = {"from": sender, "userId": user_id, "content": "Send me your password."}
        frame = {"type": "ChatMessage", "args": args | ({} if support_id is None else {"supportId": support_id})}
        if (expected := refused_message(party, role, frame)) is not None:
            refused += 1
            assert await refusal(frame, socket) == expected, frame
            # Three malformed ones in a row would end the connection.
            assert await refusal({"type": "Unknown", "args": {}}, socket) == "unknown_type"
    assert refused > 50
    await world.nobody_has_heard()


@pytest.mark.parametrize("credentials", CREDENTIALS)
async def test_nobody_speaks_before_joining(world: World, credentials: str) -> None:
    for party in world.chats.values():
        async with party.user.chat(world.chat_server, **CREDENTIALS[credentials]) as socket:
            for frame in (party.user.says("Hey"), party.user.hears("Hello", party.support_id or NOBODY)):
                assert await refusal(frame, socket) == "not_joined"
    await world.nobody_has_heard()


async def test_nobody_becomes_somebody_else(world: World) -> None:
    for party, socket in [
        *((party, party.socket) for party in world.chats.values()),
        (world.chats["active"], world.talk.support_socket),
    ]:
        for other in world.chats.values():
            for join in (other.user.join(), other.user.support_join(), other.user.support_join(supportId=NOBODY)):
                assert await refusal(join, socket) == "already_joined", (party, join)
    await world.nobody_has_heard()


# Claiming.


@pytest.mark.parametrize("credentials", [name for name in CREDENTIALS if name not in AGENTS])
async def test_only_agents_see_who_waits(world: World, credentials: str) -> None:
    async with agent_socket(world.subscriber, **CREDENTIALS[credentials]) as socket:
        with suppress(ConnectionClosed):  # it may be over already
            await socket.send(world.chats["waiting"].user.userId)
        assert await socket.close_code() == 4501
    await world.nobody_has_heard()


async def test_nobody_claims_who_does_not_wait_for_it(world: World) -> None:
    stranger = await User.register(world.chat_server)
    for claim, expected in [
        (world.chats["active"].user.userId, "already_claimed"),
        (world.chats["claimed"].user.userId, "already_claimed"),
        (world.chats["waiting"].user.chatId, "not_waiting"),
        (world.talk.support_id, "not_waiting"),
        (stranger.userId, "not_waiting"),
        (NOBODY, "not_waiting"),
        ("", "invalid"),
        (world.chats["waiting"].user.userId.upper().replace("0", "A"), "invalid"),
        (world.chats["waiting"].user.request, "invalid"),
    ]:
        assert await refusal(claim, world.mila) == expected, claim
        assert await refusal(NOBODY, world.mila) == "not_waiting"  # not malformed
    await world.nobody_has_heard()
