"""RedisClient: one connection to Redis that is made again for ever, and commands that survive its loss.

A script is sent with its deadline by Redis's clock, and does nothing after it: a command reported as failed does not
run later, however long it is delayed. Every command must have the same effect when it is executed twice, because a
command without a reply is sent again.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

from live_support.redis.address import Address
from live_support.redis.command_queue import CommandQueue
from live_support.redis.connection import Argument, Command, OnReply, pack, resolve
from live_support.redis.connector import Connector
from live_support.redis.deadlines import Deadlines
from live_support.redis.health import Probe
from live_support.redis.scripts import Scripts
from live_support.redis.supervisor import ConnectionSupervisor, PushListener
from live_support.settings import DEFAULT_URL, Settings

KeyCommand: TypeAlias = tuple[str, str, *tuple[Argument, ...]]
"""A command on a key: its name, the key, and further arguments."""


class RedisClient:
    """Sends commands to Redis.

    A command whose reply was lost is sent again, in the old order, until its deadline.

    Args:
        settings: where Redis is, how long commands wait, and how many may.
        probe: checks whether Redis can be used, for `ping` and the log.
    """

    def __init__(self, settings: Settings, probe: Probe) -> None:
        limits = settings.limits
        self.deadlines = Deadlines(limits.store_seconds)
        """How long a command waits."""
        self._max_commands = limits.redis_commands
        self._scripts = Scripts(self.deadlines)
        self._commands = CommandQueue(self._scripts, limits.redis_commands)
        connector = Connector(Address(settings.redis_url or DEFAULT_URL), self._scripts, self.deadlines)
        self._supervisor = ConnectionSupervisor(connector, self._commands, self._scripts, self.deadlines, probe)
        self._started = False

    # Commands.

    def submit_packed(self, key: str, packed: bytes, on_reply: OnReply, timeout_seconds: float | None = None) -> None:
        """Run a command that is already packed.

        Args:
            key: the command's first key.
            packed: the command.
            on_reply: called with the reply, or with an exception: `Unavailable` when Redis gave no definite answer
                within the timeout or accepts no writes now (the command may have been executed), `ResponseError` when
                the command is wrong.
            timeout_seconds: until the deadline, even while Redis is away. By default it is shorter then.
        """
        if not self._started:
            self.start()
        now = self._loop.time()
        deadline = now + (self.deadlines.timeout_seconds if timeout_seconds is None else timeout_seconds)
        command = Command(packed, on_reply, key, now, deadline, True)
        connection = self._commands.ready
        if connection is not None and len(connection.unanswered) < self._max_commands:
            connection.send(command)
        else:
            self._commands.put(command)

    def submit(self, command: KeyCommand, on_reply: OnReply) -> None:
        """Run a command, as `submit_packed` does."""
        self.submit_packed(command[1], pack(*command), on_reply)

    def run(
        self, name: str, key: str, *arguments: Argument, timeout_seconds: float | None = None
    ) -> "asyncio.Future[Any]":
        """Run a command; the future gives the reply, or raises as `submit_packed` says.

        Args:
            name: of the command.
            key: its first key.
            arguments: further ones.
            timeout_seconds: as in `submit_packed`.
        """
        future = asyncio.get_running_loop().create_future()
        self.submit_packed(key, pack(name, key, *arguments), partial(resolve, future), timeout_seconds)
        return future

    async def run_all(self, commands: Sequence[KeyCommand]) -> list[Any]:
        """Run many commands, and return their replies in order. Cheaper than a future for each.

        Raises:
            Exception: as `submit_packed` says, of one of them.
        """
        done = asyncio.get_running_loop().create_future()
        replies: list[Any] = [None] * len(commands)
        left = len(commands)

        def on_reply(index: int, reply: Any) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if not left:
                resolve(done, next((reply for reply in replies if isinstance(reply, Exception)), None))

        for index, command in enumerate(commands):
            self.submit(command, partial(on_reply, index))
        if commands:
            await done
        return replies

    def script(self, text: str) -> "Script":
        """Make a script callable; it is loaded with each connection."""
        return Script(self, self._scripts.add(text))

    async def ping(self, *, max_age_seconds: float = 0) -> str | None:
        """Return why Redis cannot be used, or None if everything is allowed that the services do.

        Args:
            max_age_seconds: how old a shared answer may be. Concurrent callers share one.
        """
        return await self._supervisor.check(max_age_seconds=max_age_seconds)

    # Subscriptions, for the hub.

    @property
    def connected(self) -> bool:
        """Whether the connection stands; publications are missed while it does not."""
        return self._supervisor.connection is not None

    def listen(self, listener: PushListener) -> None:
        """Set the one listener; it subscribes with each connection before anything else is sent."""
        self._supervisor.listener = listener

    def send(self, command: Command) -> None:
        """Send a command on the present connection, if there is one. It is not sent again on another one."""
        if (connection := self._supervisor.connection) is not None:
            connection.send(command)

    # Life.

    def start(self) -> None:
        """Begin to connect; otherwise the first command does."""
        if not self._started:
            self._started = True
            self._loop = asyncio.get_running_loop()
            self._supervisor.start()

    async def close(self) -> None:
        """Close the connection; commands without a reply, and later ones, fail with `Unavailable`."""
        await self._supervisor.close()
        self._commands.close()


class Script:
    """A Lua script: one atomic step in Redis.

    Args:
        client: runs it.
        sha: the hash by which Redis knows it.
    """

    def __init__(self, client: RedisClient, sha: str) -> None:
        self._client = client
        self._sha = sha

    def __call__(self, keys: Sequence[str], *args: Argument) -> "asyncio.Future[Any]":
        """Run the script; the future gives the reply, or raises as `RedisClient.submit_packed` says."""
        future = asyncio.get_running_loop().create_future()
        packed = self.packed(0, keys, *args) + self._client.deadlines.until
        self._client.submit_packed(keys[0], packed, partial(resolve, future))
        return future

    def packed(self, missing: int, keys: Sequence[str], *args: Argument) -> bytes:
        """Pack a call except for its last arguments: the caller appends these, and finally `Deadlines.until`.

        Args:
            missing: how many arguments the caller appends, besides `until`.
            keys: of the script; the first one routes the call.
            args: the arguments that are already known.
        """
        whole = pack("EVALSHA", self._sha, len(keys), *keys, *args, *((missing + 1) * [b""]))
        return whole.removesuffix((missing + 1) * b"$0\r\n\r\n")
