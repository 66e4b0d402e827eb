"""What waits for Redis, and in which order it is sent: without Redis."""

import asyncio
from typing import cast

import pytest

from live_support.redis.command_queue import _HOLD_SECONDS, CommandQueue
from live_support.redis.connection import Command, RespConnection, pack
from live_support.redis.deadlines import Deadlines
from live_support.redis.scripts import Scripts
from schemas.errors import Unavailable
from tests.helpers.services import eventually

MAX_COMMANDS = 5
DEADLINE = 10.0


class Connection:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.unanswered: list[Command] = []

    def send(self, command: Command) -> None:
        self.unanswered.append(command)

    @property
    def sent(self) -> list[bytes]:
        return [command.packed for command in self.unanswered]


class Scene:
    """A queue, the connection that it has, and what its commands were answered."""

    def __init__(self) -> None:
        self.queue = CommandQueue(Scripts(Deadlines(DEADLINE)), MAX_COMMANDS)
        self.answers: dict[str, object] = {}

    def connect(self) -> Connection:
        connection = Connection()
        self.queue.connected(cast(RespConnection, connection))
        return connection

    def command(self, word: str) -> Command:
        return Command(
            pack("ECHO", word),
            lambda reply: self.answers.__setitem__(word, reply),
            deadline=DEADLINE,
            retryable=True,
        )

    def refused(self) -> list[str]:
        return [word for word, answer in self.answers.items() if isinstance(answer, Unavailable)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def packed(words: str) -> list[bytes]:
    return [pack("ECHO", word) for word in words]


def test_without_a_connection_commands_wait_for_one(scene: Scene) -> None:
    assert scene.queue.ready is None
    for word in "ab":
        scene.queue.put(scene.command(word))
    connection = scene.connect()
    assert connection.sent == packed("ab")
    assert scene.queue.ready is cast(RespConnection, connection)


async def test_what_is_held_is_sent_before_what_came_later(scene: Scene) -> None:
    first = scene.connect()
    scene.queue.hold(scene.command("a"))
    assert scene.queue.ready is None
    scene.queue.put(scene.command("b"))
    assert first.sent == []
    await eventually(lambda: first.sent)
    assert first.sent == packed("ab")
    assert scene.queue.ready is cast(RespConnection, first)


async def test_what_is_held_waits_for_what_was_sent_before(scene: Scene) -> None:
    connection = scene.connect()
    connection.send(scene.command("b"))
    scene.queue.hold(scene.command("a"))
    # Longer than it is held: what was sent may have to be held, too.
    await asyncio.sleep(2 * _HOLD_SECONDS)
    assert connection.sent == packed("b")
    scene.queue.hold(connection.unanswered.pop())
    await eventually(lambda: connection.sent)
    assert connection.sent == packed("ab")


async def test_a_new_connection_gets_all_in_the_old_order(scene: Scene) -> None:
    first = scene.connect()
    first.send(scene.command("b"))
    first.send(Command(pack("PING"), lambda _: None))
    scene.queue.hold(scene.command("a"))
    scene.queue.put(scene.command("c"))
    scene.queue.disconnected()
    assert scene.queue.ready is None
    assert scene.connect().sent == packed("abc"), "what is not retryable has ended with its connection"


async def test_more_than_may_wait_are_refused_wherever_they_wait(scene: Scene) -> None:
    connection = scene.connect()
    connection.send(scene.command("b"))
    scene.queue.hold(scene.command("a"))
    for word in "cdefg":
        scene.queue.put(scene.command(word))
    assert scene.refused() == ["f", "g"]


async def test_what_is_overdue_is_refused_and_not_sent_later(scene: Scene) -> None:
    first = scene.connect()
    first.send(scene.command("b"))
    scene.queue.hold(scene.command("a"))
    scene.queue.put(scene.command("c"))
    assert not scene.queue.abandon_overdue(DEADLINE / 2)
    assert scene.queue.abandon_overdue(DEADLINE), "what was sent has no reply"
    assert sorted(scene.refused()) == ["a", "b", "c"]
    assert scene.queue.ready is cast(RespConnection, first), "nothing is in front of the next one"
    scene.queue.disconnected()
    assert scene.connect().sent == []


async def test_who_is_only_held_too_long_does_not_tell_that_redis_is_silent(scene: Scene) -> None:
    scene.connect()
    scene.queue.hold(scene.command("a"))
    assert not scene.queue.abandon_overdue(DEADLINE)
    assert scene.refused() == ["a"]


def test_at_the_end_all_are_refused(scene: Scene) -> None:
    scene.queue.put(scene.command("a"))
    scene.queue.close()
    scene.queue.put(scene.command("b"))
    assert scene.refused() == ["a", "b"]
