"""Redis: one connection that is made again for ever, commands that survive its loss, and its health.

A script is sent with the moment, on Redis's clock, until which somebody waits for it, and does nothing later: what was
reported as failed does not happen afterwards, however long its command was on the way. Every command must have the
same effect when it is executed twice, for what was not answered is sent again.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha1
from importlib.resources import files
from typing import Any

import structlog
from redis.exceptions import ResponseError

from live_support.chats.keys import Keys
from live_support.redis.address import Address
from live_support.redis.connection import Argument, Command, OnPush, OnReply, RespConnection, ignore, pack
from live_support.redis.probe import Probe, explain, lacks_right
from live_support.redis.write_refusals import Refusals, error_code, eviction_policy
from live_support.settings import DEFAULT_URL, Settings
from live_support.tasks import Tasks
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
# One node of a cluster says so of keys that another one has.
_ELSEWHERE = ("MOVED", "ASK", "CROSSSLOT")
_PROBE_SECONDS = 1.0
_EVALSHA = b"$7\r\nEVALSHA\r\n"
_SILENT = "Redis does not answer."
# How Redis begins to say that it is about to be well again. With READONLY another one may be the master now.
_TRANSIENT = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


class RedisClient:
    """The way to Redis.

    A command whose reply was lost is sent again, in the old order, until its deadline.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = Address(settings.redis_url or DEFAULT_URL)
        self._limits = settings.limits
        self._most_commands = settings.limits.redis_commands
        self._patience = settings.limits.store_seconds
        self._scripts: list[Script] = []
        self._connection: RespConnection | None = None
        self._since = 0.0
        # Without a connection all commands wait. On one that stands those are held that are to be sent again in a
        # moment, and whoever comes later queues behind them, so that the order stays: first the held, then what the
        # connection has not answered, then these.
        self._waiting: deque[Command] = deque()
        self._held: list[Command] = []
        self._behind: list[Command] = []
        self._away = False
        self._closed = False
        self._failure = _SILENT
        self._refusals = Refusals()
        self._probe = Probe(Keys(settings.key_prefix))
        self._to_probe = False
        self._probing: asyncio.Task[str | None] | None = None
        self._health: tuple[float, str | None] = (-math.inf, None)
        self._policy: str | None = None
        # Redis's clock: its microseconds at the zero of the loop's clock.
        self._clock_us: float = -math.inf
        self.until = _stamp(0)
        """The packed last argument of a script that is sent now: until when it may run."""
        # Scripts that Redis has forgotten; they are loaded again in one write with the next call.
        self._forgotten: set[Script] = set()
        self._tasks = Tasks()
        self._started = False
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
        if not self._started:
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
        """Take the script made of these files of `live_support/chats/lua`, the last of which does the work.

        Args:
            names: of the files.
            constants: what the files know by these names in capitals; fewer arguments to send with each call.
        """
        script = Script(self, names, constants)
        self._scripts.append(script)
        return script

    async def ping(self, *, not_older_than: float = 0) -> str | None:
        """Return why Redis cannot be used, or None: whether everything may be done that the services do.

        Args:
            not_older_than: so many seconds an earlier answer may be old. Who asks meanwhile shares one.
        """
        loop = asyncio.get_running_loop()
        at, health = self._health
        if loop.time() - at < not_older_than:
            return health
        if self._probing is None:
            self._probing = asyncio.create_task(self._look())
        return await asyncio.shield(self._probing)

    async def _look(self) -> str | None:
        reason: str | None = _SILENT
        connection = self._connection
        try:
            if connection is None:
                reason = self._failure
            else:
                async with asyncio.timeout(_PROBE_SECONDS):
                    lines = self._probe.lines(connection.mode)
                    answers = (_answer(connection, *words, confirmed=confirmed) for words, confirmed in lines)
                    replies = await asyncio.gather(*answers, return_exceptions=True)
                if not any(isinstance(reply, ConnectionError) for reply in replies):
                    reason = self._probe.judge(replies)
                    errors = [str(reply) for reply in replies if isinstance(reply, ResponseError)]
                    self._refusals.judge(reason, errors, self._loop.time())
        except TimeoutError:
            pass
        finally:
            self._probing = None
        self._health = (asyncio.get_running_loop().time(), reason)
        return reason

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
        if not self._started:
            self._started = True
            self._loop = asyncio.get_running_loop()
            self._tasks.spawn(self._keep_connected())
            self._tasks.spawn(self._keep_time())

    async def close(self) -> None:
        """Close the connection; who waits for a reply gets `Unavailable`, and who comes later."""
        self._closed = True
        await self._tasks.close()
        if self._probing is not None:
            await asyncio.wait({self._probing})  # it ends with the connection
        for command in (*self._waiting, *self._held, *self._behind):
            command.abandon(_unavailable())

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        told = ""
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await self._connect()
            # uvloop raises a bare RuntimeError when a connection is reset while it is being made.
            except (OSError, RuntimeError, TimeoutError, ResponseError) as error:
                self._failure = explain(str(error)) if isinstance(error, ResponseError) else _SILENT
                reason = str(error) or type(error).__name__
                if reason != told:  # once an outage, not once a try
                    log.warning("redis_connection_failed", reason=reason)
                told = reason
            else:
                told, self._failure = "", _SILENT
                self._since = loop.time()
                await self._use(connection)
                log.warning("redis_connection_lost", reason=connection.lost_because)
                if loop.time() - self._since > _LAST_PAUSE_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads reconnects, guards nothing
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _connect(self) -> RespConnection:
        connection = await self._address.open(lambda: RespConnection(self._on_push, self._on_error))
        try:
            # The scripts are sent by their hash later. PING tells whether Redis is still loading its data.
            loads = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
            lines = (*self._address.greeting, *loads, ("TIME",), ("PING",))
            hello, *_, time, _ = await asyncio.gather(*(_answer(connection, *line) for line in lines))
        except BaseException:
            connection.abort("It could not be made")
            raise
        connection.mode = hello[b"mode"].decode()
        self._take_time(time)
        return connection

    async def _use(self, connection: RespConnection) -> None:
        """Work with a connection until it is lost."""
        log.info("redis_connected")
        self._connection = connection
        self._set_away(False)
        self._to_probe = True
        waiting, self._waiting = self._waiting, deque()
        self._forgotten.clear()
        # Whoever subscribes comes first: what the waiting commands publish is heard.
        self._on_connect()
        self._send_again(connection, waiting)
        connection.send(Command(pack("INFO", "memory"), self._take_memory))
        try:
            await connection.lost.wait()
        finally:
            self._connection = None
            connection.abort("The service stops")
            left = (*self._held, *connection.unanswered, *self._behind)
            self._held, self._behind = [], []
            self._waiting = deque(command for command in left if command.lasting and not command.abandoned)

    async def _keep_time(self) -> None:
        """End what nobody answers: commands at their deadline, and a connection that is silent."""
        loop = asyncio.get_running_loop()
        asked = probed = 0.0
        while True:
            await asyncio.sleep(min(_PING_SECONDS, self._limits.store_seconds) / 8)
            now = loop.time()
            self._abandon_overdue(now)
            self._refresh_until()
            if connection := self._connection:
                if now - connection.last_answered > _SILENCE_SECONDS:
                    # It may be half open, which TCP alone would not notice for minutes.
                    connection.abort("Redis does not answer")
                elif self._refusals.code == "READONLY" and now - self._since > _REPLICA_SECONDS:
                    # The address may lead to the new master by now.
                    connection.abort("Redis is a replica")
                elif now - asked > _PING_SECONDS:
                    asked = now
                    connection.send(Command(pack("PING"), self._take_pong))
                    connection.send(Command(pack("TIME"), self._take_time))
                if self._to_probe or (self._refusals.unwell and now - probed > _PING_SECONDS):
                    self._to_probe, probed = False, now
                    self._tasks.spawn(self._look_again())

    async def _look_again(self) -> None:
        await self.ping()

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

    def _take_time(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            # That it comes some moments after it was made errs on the right side: a script ends a little too early.
            self._clock_us = int(reply[0]) * 1e6 + int(reply[1]) - self._loop.time() * 1e6
            self._refresh_until()

    def _refresh_until(self) -> None:
        # Looked at eight times a second only, so it is a little early as well: who still waits is tried again.
        self.until = self._stamp(self._loop.time() + self._patience)

    def _stamp(self, deadline: float) -> bytes:
        return _stamp(max(0, self._clock_us + deadline * 1e6))

    def _take_memory(self, reply: Any) -> None:
        if not isinstance(reply, Exception):
            policy = eviction_policy(reply)
            if policy and policy != self._policy:  # once, not with each connection
                log.warning("redis_may_evict", policy=policy)
            self._policy = policy

    def _set_away(self, away: bool) -> None:
        if away != self._away:
            self._away = away
            # While Redis is known to be away nobody is kept waiting for long.
            self._patience = _AWAY_SECONDS if away else self._limits.store_seconds
            log.warning("redis_away" if away else "redis_back")

    def _on_error(self, connection: RespConnection, command: Command, error: str) -> None:
        if error.startswith("NOSCRIPT"):
            # Only after SCRIPT FLUSH: the scripts are loaded with each connection.
            self._forgotten.update(script for script in self._scripts if script.called_by(command))
            self._hold(command)
        elif error.startswith("OVERDUE"):
            # Redis's clock says that nobody waits any more. If somebody does, it has been set, or is another Redis's.
            connection.send(Command(pack("TIME"), self._take_time))
            self._hold(command)
        elif error.startswith(_TRANSIENT):
            connection.retry(command, error_code(error))
        elif code := self._refusals.note(error, asyncio.get_running_loop().time()):
            # A replica may be about to become the master. Whoever comes later does not wait for it.
            if code == "READONLY" and command.since <= self._refusals.since:
                self._hold(command)
            else:
                command.answer(_unavailable())
        elif error.startswith("BUSY"):  # a script hangs
            command.answer(_unavailable())
        elif lacks_right(error) or error.startswith(_ELSEWHERE):
            self._to_probe = True  # it says what is wrong
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
        self._send_again(connection, released)

    def _send_again(self, connection: RespConnection, commands: Iterable[Command]) -> None:
        for command in commands:
            for script in [script for script in self._forgotten if script.called_by(command)]:
                # In one write with the call, so that it runs even if Redis is made to forget it all the time.
                connection.send(Command(pack("SCRIPT", "LOAD", script.text), ignore))
                self._forgotten.discard(script)
            if command.packed.startswith(_EVALSHA, command.packed.index(b"$")):
                command.packed = command.packed[: -len(self.until)] + self._stamp(command.deadline)
            connection.send(command)


class Script:
    """A Lua script: one atomic step in Redis."""

    def __init__(self, redis: RedisClient, names: Sequence[str], constants: Mapping[str, int]) -> None:
        folder = files("live_support.chats") / "lua"
        known = [f"local {name.upper()} = {value}" for name, value in constants.items()]
        parts = [(folder / f"{name}.lua").read_text("utf-8") for name in ("prelude", *names)]
        self.text = "\n".join([*known, *parts])
        self.sha = sha1(self.text.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._redis = redis

    def __call__(self, keys: Sequence[str], *args: Argument) -> "asyncio.Future[Any]":
        """Run the script; the future gives the reply, or raises as `Redis.submit` says."""
        future = asyncio.get_running_loop().create_future()
        self._redis.submit_packed(self.packed(0, keys, *args) + self._redis.until, partial(_settle, future))
        return future

    def packed(self, missing: int, keys: Sequence[str], *args: Argument) -> bytes:
        """Pack a call but for its last arguments: whoever submits it adds those, and at last `Redis.until`."""
        whole = pack("EVALSHA", self.sha, len(keys), *keys, *args, *((missing + 1) * [b""]))
        return whole.removesuffix((missing + 1) * b"$0\r\n\r\n")

    def called_by(self, command: Command) -> bool:
        """Whether a command runs this script."""
        return self.sha.encode() in command.packed


def _answer(
    connection: RespConnection, *arguments: Argument, confirmed: tuple[bytes, bytes] | None = None
) -> "asyncio.Future[Any]":
    future = asyncio.get_running_loop().create_future()
    connection.send(Command(pack(*arguments), partial(_settle, future), confirmation=confirmed))
    return future


def _stamp(until_us: float) -> bytes:
    return b"$16\r\n%016d\r\n" % until_us


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
