"""Redis: one connection that is made again for ever, commands that survive its loss, and its health. Knows no keys."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha1
from importlib.resources import files
from typing import Any

import structlog
from redis.exceptions import ResponseError

from core.keys import Keys
from core.redis_address import Address
from core.refusals import Refusals, write_of_nothing
from core.resp import Argument, Command, OnPush, OnReply, Resp, ignore, pack
from core.settings import DEFAULT_URL, Settings
from core.tasks import Tasks
from schemas.errors import Unavailable

log = structlog.get_logger()

_CONNECT_SECONDS = 2.0
_PING_SECONDS = 1.0
_SILENCE_SECONDS = 3.0
_AWAY_SECONDS = 1.0
_HOLD_SECONDS = 0.05
_REPLICA_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 1.0
# How Redis begins to say that it is about to be well again. With READONLY another one may be the master now.
_TRANSIENT = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


class Redis:
    """The way to Redis.

    A command whose reply was lost is sent again, in the old order, until its deadline. So every command must
    have the same effect when it is executed twice.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = Address(settings.redis_url or DEFAULT_URL)
        self._limits = settings.limits
        self._most_commands = settings.limits.redis_commands
        self._patience = settings.limits.store_seconds
        self._scripts: list[Script] = []
        self._connection: Resp | None = None
        self._since = 0.0
        # Without a connection all commands wait. On one that stands those are held that are to be sent again in a
        # moment, and whoever comes later queues behind them, so that the order stays: first the held, then what the
        # connection has not answered, then these.
        self._waiting: deque[Command] = deque()
        self._held: list[Command] = []
        self._behind: list[Command] = []
        self._away = False
        self._closed = False
        self._refusals = Refusals()
        self._probe = write_of_nothing(Keys(settings.key_prefix).probe)
        self._tasks: Tasks | None = None
        self._on_connect: Callable[[], None] = _nothing
        self._on_push: OnPush = _unheard

    # Commands.

    def submit(self, arguments: Sequence[Argument], on_reply: OnReply) -> None:
        """Run a command, and call back with what came of it.

        Args:
            arguments: the command's name and what belongs to it.
            on_reply: takes the reply, or an exception: `Unavailable` when Redis gave no definite answer within the
                deadline or takes no writes now (the command may have been executed), `ResponseError` when the command
                is wrong.
        """
        self.submit_packed(pack(*arguments), on_reply)

    def submit_packed(self, packed: bytes, on_reply: OnReply, patience: float | None = None) -> None:
        """Run a command that is packed already, as `submit` does.

        Args:
            packed: the command.
            on_reply: as in `submit`.
            patience: seconds until the deadline, also while Redis is away: for what is to happen even then.
        """
        if self._tasks is None:
            self.start()
        now = self._loop.time()
        deadline = now + (self._patience if patience is None else patience)
        command = Command(packed, on_reply, now, deadline, lasting=True)
        connection = self._connection
        if connection is None or self._held or self._behind or len(connection.unanswered) >= self._most_commands:
            self._queue(command)
        else:
            connection.send(command)

    def _queue(self, command: Command) -> None:
        """Let a command wait its turn, or refuse it: there is no connection, others are in front of it, or too many."""
        connection = self._connection
        under_way = len(self._waiting if connection is None else connection.unanswered)
        if self._closed:
            command.answer(_unavailable())
        elif under_way + len(self._held) + len(self._behind) >= self._most_commands:
            command.answer(Unavailable("The server is overloaded, try again later."))
        else:
            (self._waiting if connection is None else self._behind).append(command)

    def run(self, *arguments: Argument, patience: float | None = None) -> "asyncio.Future[Any]":
        """Run a command; the future gives the reply, or raises as `submit` says.

        Args:
            arguments: as in `submit`.
            patience: as in `submit_packed`.
        """
        future = asyncio.get_running_loop().create_future()
        self.submit_packed(pack(*arguments), partial(_settle, future), patience)
        return future

    async def run_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run many commands; the replies have their order. Far less work than a future for each.

        Raises:
            Exception: as `submit` says, of one of them.
        """
        done = asyncio.get_running_loop().create_future()
        replies: list[Any] = [None] * len(commands)
        left = len(commands)

        def take(index: int, reply: Any) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if not left:
                _settle(done, next((reply for reply in replies if isinstance(reply, Exception)), None))

        for index, arguments in enumerate(commands):
            self.submit(arguments, partial(take, index))
        if commands:
            await done
        return replies

    def script(self, *names: str, **constants: int) -> "Script":
        """Take the script made of these files of `core/lua`, the last of which does the work.

        Args:
            names: of the files.
            constants: what the files know by these names in capitals; fewer arguments to send with each call.
        """
        script = Script(self, names, constants)
        self._scripts.append(script)
        return script

    async def ping(self) -> str | None:
        """Return why Redis cannot be used, or None."""
        try:
            async with asyncio.timeout(1):
                if self._connection is not None:
                    await _answer(self._connection, *self._probe)
                    self._refusals.end()
                    return None
        except ResponseError as error:
            code = self._refusals.note(str(error), asyncio.get_running_loop().time())
            return f"Redis takes no writes: {code}." if code else f"Redis answers: {error}."
        except (TimeoutError, ConnectionError):
            pass
        return "Redis does not answer."

    # Subscriptions, for the hub.

    @property
    def connected(self) -> bool:
        """Whether the connection stands; publications are missed while it does not."""
        return self._connection is not None

    def listen(self, on_connect: Callable[[], None], on_push: OnPush) -> None:
        """Name who subscribes as soon as a connection stands, and who takes the publications."""
        self._on_connect = on_connect
        self._on_push = on_push

    def send(self, command: Command) -> None:
        """Send a command on the connection that stands now, if one does. It ends with it."""
        if self._connection is not None:
            self._connection.send(command)

    # The connection's life.

    def start(self) -> None:
        """Begin to connect; the first command does it too."""
        if self._tasks is None:
            self._loop = asyncio.get_running_loop()
            self._tasks = Tasks()
            self._tasks.spawn(self._keep_connected())
            self._tasks.spawn(self._keep_time())

    async def close(self) -> None:
        """Close the connection; who waits for a reply gets `Unavailable`, and who comes later."""
        self._closed = True
        if self._tasks is not None:
            await self._tasks.close()
        for command in (*self._waiting, *self._held, *self._behind):
            command.abandon(_unavailable())

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        told = False
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await self._connect()
            # uvloop raises a bare RuntimeError when a connection is reset while it is being made.
            except (OSError, RuntimeError, TimeoutError, ResponseError) as error:
                if not told:  # once an outage, not once a try
                    log.warning("redis_connection_failed", reason=str(error) or type(error).__name__)
                told = True
            else:
                told = False
                self._since = loop.time()
                await self._use(connection)
                log.warning("redis_connection_lost")
                if loop.time() - self._since > _LAST_PAUSE_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads reconnects, guards nothing
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _connect(self) -> Resp:
        connection = await self._address.open(lambda: Resp(self._on_push, self._on_error))
        try:
            # The scripts are sent by their hash later. PING tells whether Redis is still loading its data.
            loads = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
            await asyncio.gather(*(_answer(connection, *line) for line in (*self._address.greeting, *loads, ("PING",))))
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _use(self, connection: Resp) -> None:
        """Work with a connection until it is lost."""
        log.info("redis_connected")
        self._connection = connection
        self._set_away(False)
        waiting, self._waiting = self._waiting, deque()
        # Whoever subscribes comes first: what the waiting commands publish is heard.
        self._on_connect()
        for command in waiting:
            connection.send(command)
        try:
            await connection.lost.wait()
        finally:
            self._connection = None
            connection.abort()
            left = (*self._held, *connection.unanswered, *self._behind)
            self._held, self._behind = [], []
            self._waiting = deque(command for command in left if command.lasting and not command.abandoned)

    async def _keep_time(self) -> None:
        """End what nobody answers: commands at their deadline, and a connection that is silent."""
        loop = asyncio.get_running_loop()
        pinged = 0.0
        while True:
            await asyncio.sleep(min(_PING_SECONDS, self._limits.store_seconds) / 8)
            now = loop.time()
            self._abandon_overdue(now)
            if connection := self._connection:
                if now - connection.last_heard > _SILENCE_SECONDS:
                    # It may be half open, which TCP alone would not notice for minutes.
                    connection.abort()
                elif self._refusals.code == "READONLY" and now - self._since > _REPLICA_SECONDS:
                    # The address may lead to the new master by now.
                    connection.abort()
                elif now - pinged > _PING_SECONDS:
                    pinged = now
                    connection.send(Command(pack("PING"), self._take_pong))
                    if self._refusals.code:
                        connection.send(Command(pack(*self._probe), self._take_proof))

    def _abandon_overdue(self, now: float) -> None:
        # On a connection they keep their places, since the replies may still come.
        queue = self._waiting if self._connection is None else self._connection.unanswered
        overdue = [command for command in queue if command.deadline <= now and not command.abandoned]
        if overdue:
            self._set_away(True)
        for command in (*overdue, *(held for held in (*self._held, *self._behind) if held.deadline <= now)):
            command.abandon(_unavailable())
        # Whose sender was told that it failed is not to happen much later all the same.
        self._held = [command for command in self._held if not command.abandoned]
        self._behind = [command for command in self._behind if not command.abandoned]
        if self._connection is None:
            self._waiting = deque(command for command in self._waiting if not command.abandoned)

    def _take_pong(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            self._set_away(False)

    def _take_proof(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            self._refusals.end()

    def _set_away(self, away: bool) -> None:
        if away != self._away:
            self._away = away
            # While Redis is known to be away nobody is kept waiting for long.
            self._patience = _AWAY_SECONDS if away else self._limits.store_seconds
            log.warning("redis_away" if away else "redis_back")

    def _on_error(self, connection: Resp, command: Command, error: str) -> None:
        if error.startswith("NOSCRIPT"):
            # Only after SCRIPT FLUSH: the scripts are loaded with each connection.
            script = next(script for script in self._scripts if script.sha.encode() in command.packed)
            connection.send(Command(pack("SCRIPT", "LOAD", script.text), ignore))
            self._hold(command)
        elif error.startswith(_TRANSIENT):
            connection.retry(command)
        elif code := self._refusals.note(error, asyncio.get_running_loop().time()):
            # A replica may be about to become the master. Whoever comes later does not wait for it.
            if code == "READONLY" and command.since <= self._refusals.since:
                self._hold(command)
            else:
                command.answer(_unavailable())
        elif error.startswith("BUSY"):  # a script hangs
            command.answer(_unavailable())
        else:
            command.answer(ResponseError(error))

    def _hold(self, command: Command) -> None:
        """Send a command again a moment later, and what came after it behind it."""
        if command.abandoned:
            return
        if not self._held:
            self._loop.call_later(_HOLD_SECONDS, self._release)
        self._held.append(command)

    def _release(self) -> None:
        connection = self._connection
        if connection is None:
            return  # those who were held wait with the others
        if any(command.lasting for command in connection.unanswered):
            # They were sent before, and may have to be held, too.
            self._loop.call_later(_HOLD_SECONDS, self._release)
            return
        released = (*self._held, *self._behind)
        self._held, self._behind = [], []
        for command in released:
            connection.send(command)


class Script:
    """A Lua script: one atomic step in Redis."""

    def __init__(self, redis: Redis, names: Sequence[str], constants: Mapping[str, int]) -> None:
        folder = files("core") / "lua"
        known = [f"local {name.upper()} = {value}" for name, value in constants.items()]
        parts = [(folder / f"{name}.lua").read_text("utf-8") for name in ("prelude", *names)]
        self.text = "\n".join([*known, *parts])
        self.sha = sha1(self.text.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._redis = redis

    def __call__(self, keys: Sequence[str], *args: Argument) -> "asyncio.Future[Any]":
        """Run the script; the future gives the reply, or raises as `Redis.submit` says."""
        return self._redis.run("EVALSHA", self.sha, len(keys), *keys, *args)

    def packed(self, missing: int, keys: Sequence[str], *args: Argument) -> bytes:
        """Pack a call that is made often, but for its last arguments: whoever submits it packs those behind it."""
        whole = pack("EVALSHA", self.sha, len(keys), *keys, *args, *(missing * [b""]))
        return whole.removesuffix(missing * b"$0\r\n\r\n")


async def _answer(connection: Resp, *arguments: Argument) -> Any:
    future = asyncio.get_running_loop().create_future()
    connection.send(Command(pack(*arguments), partial(_settle, future)))
    return await future


def _settle(future: "asyncio.Future[Any]", reply: Any) -> None:
    if future.done():
        return  # nobody waits any more
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


def _unavailable() -> Unavailable:
    return Unavailable("The server cannot store anything now, try again later.")


def _nothing() -> None:
    pass


def _unheard(channel: bytes, payload: bytes) -> None:
    pass
