"""ChatStore against a model in Python: any steps, in any order, some twice, end in the same chats."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from msgspec import UNSET

from live_support.chats.keys import ChatKeys
from live_support.chats.store import ChatState, Snapshot
from live_support.limits import Limits
from schemas.codec import encode
from schemas.errors import AlreadyClaimed, ChatFull, ChatGone, Forbidden, InvalidFrame, Unavailable
from schemas.messages import Participant, StoredMessage
from tests.helpers.chats import Chat, hex_id
from tests.helpers.keys import KEYS
from tests.helpers.services import DEADLINE
from tests.redis.machines import Machine, run_machine

CONNECTIONS_EACH = 2
MOST_MESSAGES, MOST_BYTES = 3, 800
"""Few, so that chats fill up: a long message and a short one fit, two long ones do not."""
CHAT_SECONDS, WAITING_SECONDS = 1000, 5000
AGED_SECONDS = 500
"""A chat that nothing has renewed lives for less than any that something has."""

Logged = tuple[str, str]
"""A kind of entry, and what tells it from others of that kind."""


@dataclass
class ChatModel:
    """What the store should hold of a chat."""

    chat: Chat
    token: str | None
    user_connection: str | None = None
    support: tuple[str, str] | None = None
    """Id and name."""
    connections: list[tuple[Participant, str]] = field(default_factory=list)
    """Oldest first."""
    log: list[Logged] = field(default_factory=list)
    said: set[tuple[str, int]] = field(default_factory=set)
    """Connections, and numbers of their messages."""
    bytes: int = 0
    gone: bool = False
    aged: bool = False
    lifetime: int = CHAT_SECONDS

    @property
    def state(self) -> ChatState:
        if self.support is not None:
            return "active"
        return "open" if self.user_connection is None else "waiting"

    @property
    def waiting(self) -> bool:
        return self.state == "waiting"

    def last_of(self, connection: str) -> int:
        """The highest number that a connection has said."""
        return max((number for each, number in self.said if each == connection), default=0)

    def renew(self) -> None:
        self.aged = False
        self.lifetime = WAITING_SECONDS if self.waiting else CHAT_SECONDS

    def connect(self, participant: Participant, connection: str) -> None:
        if (participant, connection) not in self.connections:
            self.connections.append((participant, connection))
        own = [each for each in self.connections if each[0] == participant]
        for oldest in own[: max(0, len(own) - CONNECTIONS_EACH)]:
            self.connections.remove(oldest)
            self.log.append(("Replaced", oldest[1]))


chats = st.integers(0, 1)
connections = st.sampled_from(["1", "2", "3", "4"])
tokens = st.sampled_from([None, "right", "wrong"])
supports = st.integers(0, 2)
names = st.sampled_from(["Vika", "Ana", ""])
UNDER_WAY = 3
message_numbers = st.integers(1, 6)
contents = st.sampled_from(["hey", "h" * 500, 'ë\n\\"\U0001f642'])
often_once = st.sampled_from([1, 1, 1, 2, 3])
"""How often a command is sent: again, where the answer to it was lost."""


def support_id(number: int) -> str:
    return hex_id(5000 + number)


def size_of(chat: Chat, content: str, support: str | None) -> int:
    """Bytes that a message of the User's takes."""
    args = StoredMessage(
        user_id=chat.user_id,
        support_id=support or UNSET,
        content=content,
        timestamp=datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
        sender="User",
    )
    return len(encode(args))


class StoreMachine(Machine):
    """Two chats."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0
        self.models: list[ChatModel] = []
        self.listener = self.client.pubsub()
        self.published: dict[str, list[str]] = {}

    def teardown(self) -> None:
        self.run(self.listener.aclose())  # type: ignore[no-untyped-call]
        super().teardown()

    @initialize(first=tokens, second=tokens)
    def open_two(self, first: str | None, second: str | None) -> None:
        self.models = [self.opened_chat(token) for token in (first, second)]

    def opened_chat(self, token: str | None, times: int = 1) -> ChatModel:
        self.opened += 1
        *_, chat = [self.run(Chat.open(self.store, self.opened, token=token)) for _ in range(times)]
        self.run(self.listener.ssubscribe(KEYS.chat(chat.chat_id).live))
        return ChatModel(chat, token)

    @precondition(lambda self: any(model.gone for model in self.models))
    @rule(number=chats, token=tokens, times=often_once)
    def open_another(self, number: int, token: str | None, times: int) -> None:
        if self.models[number].gone:
            self.models[number] = self.opened_chat(token, times)

    # Joining.

    @rule(number=chats, connection=connections, token=tokens, foreign=st.booleans(), times=often_once)
    def user_joins(self, number: int, connection: str, token: str | None, foreign: bool, times: int) -> None:
        model = self.models[number]
        user_id = hex_id(77) if foreign else None
        outcome = self.outcome(
            lambda: model.chat.join_user(f"u{connection}", user_id=user_id, token=token, room=False), times, model
        )
        if model.gone:
            assert outcome is ChatGone
        elif foreign or (model.token is not None and token != model.token):
            assert outcome is Forbidden
        else:
            first = model.user_connection in (None, f"u{connection}")
            if model.user_connection is None:
                model.user_connection = f"u{connection}"
                model.log.append(("Joined", "User"))
            self.let_in(model, "User", f"u{connection}", first, outcome, times)

    @rule(
        number=chats,
        connection=connections,
        given=st.one_of(st.none(), supports),
        new=supports,
        name=names,
        foreign=st.booleans(),
        times=often_once,
    )
    def support_joins(
        self, number: int, connection: str, given: int | None, new: int, name: str, foreign: bool, times: int
    ) -> None:
        model = self.models[number]
        given_id = None if given is None else support_id(given)
        outcome = self.outcome(
            lambda: model.chat.join_support(
                f"s{connection}",
                new_id=support_id(new),
                name=name,
                support_id=given_id,
                user_id=hex_id(77) if foreign else None,
                room=False,
            ),
            times,
            model,
        )
        current = model.support and model.support[0]
        repeated = current == support_id(new)
        if given is None and model.support is not None and model.support[1] == name:
            # It may never have heard its id: no other connection of it stands, and it says nothing in this model.
            others = {own for participant, own in model.connections if participant == "Support"} - {f"s{connection}"}
            repeated = repeated or not others
        if model.gone:
            assert outcome is ChatGone
        elif foreign or (given_id is not None and (current is None or repeated or given_id != current)):
            assert outcome is Forbidden
        elif given_id is None and current is not None and not repeated:
            assert outcome is AlreadyClaimed
        elif current is None and not name:
            assert outcome is InvalidFrame
        else:
            if current is None:
                model.support = (support_id(new), name)
                model.log.append(("Joined", support_id(new)))
            self.let_in(model, "Support", f"s{connection}", current is None or repeated, outcome, times)

    def let_in(
        self, model: ChatModel, participant: Participant, connection: str, first: bool, outcome: object, times: int
    ) -> None:
        assert isinstance(outcome, Snapshot)
        told = len(model.log)
        model.connect(participant, connection)
        assert outcome.full == (len(model.log) > told)
        for _ in range(times if outcome.full else 0):
            self.run(model.chat.make_room(participant, connection))
        model.renew()
        assert outcome.first == first
        assert (outcome.support_id, outcome.support_user_name) == (model.support or (None, ""))
        assert outcome.state == model.state
        assert outcome.ttl_ms == model.lifetime * 1000
        assert (outcome.offset, outcome.messages) == (told, len(model.said))
        assert outcome.entries is not None
        assert [entry.offset for entry in outcome.entries] == list(range(1, told + 1))
        assert [entry.kind.decode() for entry in outcome.entries] == [kind for kind, _ in model.log[:told]]

    @rule(number=chats, participant=st.sampled_from(["User", "Support"]), connection=connections, times=often_once)
    def leaves(self, number: int, participant: Literal["User", "Support"], connection: str, times: int) -> None:
        model = self.models[number]
        name = f"{participant[0].lower()}{connection}"
        for _ in range(times):
            self.run(self.store.leave(model.chat.chat_id, participant, name))
        if (participant, name) in model.connections:
            model.connections.remove((participant, name))

    # Talking.

    @rule(
        number=chats,
        connection=connections,
        message=message_numbers,
        content=contents,
        times=often_once,
    )
    def says(self, number: int, connection: str, message: int, content: str, times: int) -> None:
        """Say something, in any order, or again."""
        model = self.models[number]
        outcome = self.outcome(lambda: model.chat.say(content, connection=connection, number=message), times, model)
        size = size_of(model.chat, content, model.support and model.support[0])
        if model.gone:
            assert outcome is ChatGone
        elif message <= (last := model.last_of(connection)):
            stored = (connection, message) in model.said and message > last - UNDER_WAY
            assert outcome is (None if stored else Unavailable), (
                "what comes late is not stored behind what came after it"
            )
        elif len(model.said) >= MOST_MESSAGES or model.bytes + size > MOST_BYTES:
            assert outcome is ChatFull
        else:
            assert outcome is None
            model.log.append(("ChatMessage", content))
            model.said.add((connection, message))
            model.bytes += size
            model.renew()

    # Time.

    @rule(number=chats)
    def grows_old(self, number: int) -> None:
        """As if nothing had happened for long."""
        model = self.models[number]
        if not model.aged and not model.gone:
            self.run(self.let_pass(model, model.lifetime - AGED_SECONDS))
            model.aged = True

    @precondition(lambda self: any(model.aged for model in self.models))
    @rule(number=chats)
    def expires(self, number: int) -> None:
        model = self.models[number]
        if model.aged and not model.gone:
            self.run(self.let_pass(model, AGED_SECONDS))
            model.gone = True

    async def let_pass(self, model: ChatModel, seconds: int) -> None:
        """Bring the end of each key nearer. A key whose end was forgotten keeps none and stays behind."""
        for key in await self.keys_of(model):
            if (end := await self.client.pexpiretime(key)) > 0:
                await self.client.pexpireat(key, end - seconds * 1000)

    # What holds after every step.

    @rule(number=chats, offset=st.integers(0, 12))
    def reads(self, number: int, offset: int) -> None:
        model = self.models[number]
        entries = self.run(self.store.entries_after(model.chat.chat_id, offset))
        expected = [] if model.gone else model.log[offset:]
        assert [entry.offset for entry in entries] == [offset + 1 + index for index in range(len(expected))]
        assert [entry.kind.decode() for entry in entries] == [kind for kind, _ in expected]

    @invariant()
    def the_chats_are_the_models(self) -> None:
        for model in self.models:
            self.run(self.check_gone(model) if model.gone else self.check(model))
        self.run(self.check_keys())

    async def keys_of(self, model: ChatModel) -> list[str]:
        return [str(key) for key in await self.client.keys(KEYS.chat(model.chat.chat_id).meta.replace("meta", "*"))]

    async def check_gone(self, model: ChatModel) -> None:
        assert await self.keys_of(model) == []
        assert await self.store.remaining_ms(model.chat.chat_id) is None
        assert await self.store.offsets([model.chat.chat_id]) == [None]
        with pytest.raises(ChatGone):
            await self.store.support_id(model.chat.chat_id)

    async def check(self, model: ChatModel) -> None:
        keys = KEYS.chat(model.chat.chat_id)
        async with self.client.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(keys.meta)
            pipeline.xrange(keys.log)
            pipeline.zrange(keys.connections, 0, -1)
            for key in keys[:-1]:
                pipeline.pexpiretime(key)
            meta, log, connected, *ends = await pipeline.execute()
        self.check_meta(model, meta)
        self.check_log(model, log)
        assert connected == [f"{participant}:{connection}" for participant, connection in model.connections]
        there = [end for end, holds in zip(ends, (meta, log, connected), strict=True) if holds]
        assert len(set(there)) == 1, "a key ends at another moment"
        assert min(there) > 0, "a key never ends"
        await self.check_lifetime(model)
        await self.check_published(keys, log)
        assert await self.store.offsets([model.chat.chat_id]) == [len(model.log)]
        assert await self.store.support_id(model.chat.chat_id) == (model.support[0] if model.support else None)

    def check_meta(self, model: ChatModel, meta: dict[str, str]) -> None:
        assert meta["userId"] == model.chat.user_id
        assert meta["state"] == model.state
        assert int(meta["offset"]) == len(model.log)
        assert int(meta.get("messages", 0)) == len(model.said) <= MOST_MESSAGES
        assert int(meta.get("bytes", 0)) == model.bytes <= MOST_BYTES
        for connection in {connection for connection, _ in model.said}:
            last, *left_out = map(int, meta[f"said:{connection}"].split())
            assert last == model.last_of(connection)
            window = range(max(1, last - UNDER_WAY + 1), last)
            assert left_out == [number for number in window if (connection, number) not in model.said]
        assert meta.get("joined") == model.user_connection
        assert (meta.get("supportId"), meta.get("supportUserName")) == (model.support or (None, None))

    def check_log(self, model: ChatModel, log: list[tuple[str, dict[str, str]]]) -> None:
        assert [entry_id for entry_id, _ in log] == [f"{offset}-1" for offset in range(1, len(model.log) + 1)]
        entries = [entry for _, fields in log for entry in fields.items()]
        assert len(entries) == len(log)
        told: list[Logged] = []
        for kind, body in entries:
            args = {} if kind == "Replaced" else json.loads(body)
            match kind:
                case "Joined":
                    told.append((kind, args.get("supportId", args["participant"])))
                case "ChatMessage":
                    told.append((kind, args["content"]))
                case _:
                    told.append((kind, body))
        assert told == model.log
        times = [json.loads(body)["timestamp"] for kind, body in entries if kind == "ChatMessage"]
        assert all(earlier < later for earlier, later in pairwise(times))

    async def check_lifetime(self, model: ChatModel) -> None:
        remaining_ms = await self.store.remaining_ms(model.chat.chat_id)
        assert remaining_ms is not None
        expected = AGED_SECONDS if model.aged else model.lifetime
        assert (expected - AGED_SECONDS) * 1000 < remaining_ms <= expected * 1000

    async def check_published(self, keys: ChatKeys, log: list[tuple[str, dict[str, str]]]) -> None:
        """Everything that is stored has been published, once, in its order."""
        published = self.published.setdefault(keys.live, [])
        await self.client.spublish(keys.live, "so far")
        while True:
            message = await self.listener.get_message(timeout=DEADLINE)
            assert message is not None
            if message["type"] != "smessage":
                continue
            if message["data"] == "so far":
                break
            self.published.setdefault(message["channel"], []).append(message["data"])
        stored = [
            f"{offset} {kind} {body}" for offset, (_, fields) in enumerate(log, 1) for kind, body in fields.items()
        ]
        assert published == stored

    async def check_keys(self) -> None:
        """Nothing else was written."""
        names = [key for model in self.models if not model.gone for key in KEYS.chat(model.chat.chat_id)]
        assert set(await self.our_keys()) <= set(names)

    def outcome(self, step: Callable[[], Coroutine[Any, Any, Any]], times: int, model: ChatModel) -> Any:
        """Take a step so many times; the answers must be the same. An error counts as an answer by its kind."""
        answers = [self.run(_outcome(step)) for _ in range(times)]
        assert all(answer == answers[0] for answer in answers), (model, answers)
        return answers[0]


async def _outcome(step: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    try:
        return await step()
    except (ChatGone, Forbidden, AlreadyClaimed, InvalidFrame, ChatFull, Unavailable) as error:
        return type(error)


@pytest.mark.hypothesis
@pytest.mark.timeout(600)  # after a failure, finding the shortest steps that show it takes long
def test_the_store_does_as_the_model(redis_url: str) -> None:
    run_machine(
        StoreMachine,
        redis_url,
        examples=60,
        steps=40,
        limits=Limits(
            connections_per_participant=CONNECTIONS_EACH, in_flight_frames=UNDER_WAY, replay_window_messages=UNDER_WAY
        ),
        chat_max_messages=MOST_MESSAGES,
        chat_max_bytes=MOST_BYTES,
        chat_ttl_seconds=CHAT_SECONDS,
        waiting_ttl_seconds=WAITING_SECONDS,
    )
