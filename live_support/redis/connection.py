"""One connection to Redis: commands out, replies and pushes in, all in the order of one byte stream (RESP3)."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import hiredis
import structlog
from hiredis import PushNotification, ReplyError
from msgspec import Struct
from redis.exceptions import ResponseError

log = structlog.get_logger()

Argument = str | bytes | int
OnReply = Callable[[Any], None]
"""Takes a reply, or the exception that came instead."""
OnPush = Callable[[bytes, bytes], None]
"""Takes a publication: its channel and its payload."""

_NOTHING = object()
_PUBLICATIONS = (b"smessage", b"message")


def pack(*arguments: Argument) -> bytes:
    """Write a command, its name and what belongs to it, as Redis reads it."""
    return hiredis.pack_command(arguments)  # type: ignore[arg-type,no-any-return]  # the stub allows one item


class Command(Struct, eq=False):
    """A command on its way. A struct is made in half the time of another object, and every message needs one."""

    packed: bytes
    """The command as it is sent."""
    on_reply: OnReply
    """Called once, with the reply or an exception."""
    key: str = ""
    """The key that decides which node of a cluster gets the command; "" where any node will do."""
    submitted_at: float = 0.0
    """By the loop's clock."""
    deadline: float = math.inf
    """Until when the caller waits for the reply, by the loop's clock."""
    retryable: bool = False
    """Whether it is sent again on the next connection if this one is lost before the reply."""
    confirmation: tuple[bytes, bytes] | None = None
    """The push that answers instead of a reply, as with subscriptions: its kind and its channel."""

    def answer(self, reply: Any) -> None:
        """Give the reply to the caller."""
        try:
            self.on_reply(reply)
        except Exception as error:  # the others want their replies all the same
            log.error("reply_failed", exc_info=error)

    def abandon(self, error: Exception) -> None:
        """Answer with an exception. The true reply, should it still come, goes nowhere."""
        self.answer(error)
        self.on_reply = ignore

    @property
    def abandoned(self) -> bool:
        """Whether the caller has been told that it failed."""
        return self.on_reply is ignore


def ignore(_: object) -> None:
    """Drop a reply that is not needed."""


def resolve(future: "asyncio.Future[Any]", reply: Any) -> None:
    """End a future with a reply, or with the exception that came instead; nothing if it was cancelled."""
    if future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


class RespConnection(asyncio.Protocol):
    """The connection. What is sent within one turn of the event loop leaves in one write.

    Args:
        on_push: takes every publication.
        on_error: takes the connection, a retryable command, and the error with which Redis answered it.
    """

    def __init__(self, on_push: OnPush, on_error: "OnError") -> None:
        self.unanswered: deque[Command] = deque()
        """What was sent, oldest first."""
        self.lost = asyncio.Event()
        """Set when the connection has ended; the retryable commands are in `unanswered` then."""
        self.last_answered = 0.0
        """When a command was answered last, by the loop's clock. A publication is no sign of life: it says nothing of
        the way that commands take."""
        self.mode = ""
        """What the server is: standalone, or one node of a cluster."""
        self.lost_because = ""
        """Why the connection has ended."""
        self._on_push = on_push
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._transport: asyncio.Transport
        self._out: list[bytes] = []
        self._aborted = False

    def send(self, command: Command) -> None:
        """Send a command. Its reply goes to its `on_reply`."""
        self.unanswered.append(command)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command.packed)

    def call(self, *arguments: Argument, confirmation: tuple[bytes, bytes] | None = None) -> "asyncio.Future[Any]":
        """Send a command that ends with this connection; the future gives the reply.

        Args:
            arguments: the command's name and what belongs to it.
            confirmation: the push that answers instead of a reply, if one does.
        """
        future = self._loop.create_future()
        self.send(Command(pack(*arguments), partial(resolve, future), confirmation=confirmation))
        return future

    def retry(self, command: Command, because: str) -> None:
        """Have a command that was answered sent again, in its old place, on the next connection."""
        self.unanswered.appendleft(command)
        self.abort(because)

    def abort(self, because: str) -> None:
        """Cut the connection, now. What it has brought and was not looked at yet is lost with it."""
        self._aborted = True
        self.lost_because = self.lost_because or because
        self._transport.abort()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.last_answered = self._loop.time()

    def data_received(self, data: bytes) -> None:
        oldest = self.unanswered[0] if self.unanswered else None
        next_reply, unanswered, on_push = self._reader.gets, self.unanswered, self._on_push
        try:
            self._reader.feed(data)
            # Every message brings a reply and a push, so these make few calls.
            while not self._aborted and (reply := next_reply()) is not _NOTHING:
                kind = type(reply)
                if kind is PushNotification:
                    if reply[0] in _PUBLICATIONS:
                        on_push(reply[1], reply[2])
                    else:
                        self._take_confirmation(reply)
                elif kind is ReplyError:
                    self._take_error(str(reply))
                else:
                    command = unanswered.popleft()
                    try:
                        command.on_reply(reply)
                    except Exception as error:  # the others want their replies all the same
                        log.error("reply_failed", exc_info=error)
        except hiredis.ProtocolError as error:
            log.error("redis_protocol_error", exc_info=error)
            self.abort("What Redis sends is not RESP")
        if oldest is not None and (not unanswered or unanswered[0] is not oldest):
            self.last_answered = self._loop.time()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost_because = self.lost_because or (str(error) or type(error).__name__ if error else "Redis closed it")
        for command in self.unanswered:
            if not command.retryable:
                command.abandon(ConnectionResetError("Redis has closed the connection"))
        self.lost.set()

    def _take_error(self, error: str) -> None:
        command = self.unanswered.popleft()
        if command.retryable:
            self._on_error(self, command, error)
        else:
            command.answer(ResponseError(error))

    def _take_confirmation(self, push: list[Any]) -> None:
        # Confirmations keep their place among the replies, so only the oldest command can be meant.
        if self.unanswered and self.unanswered[0].confirmation == (push[0], push[1]):
            self.unanswered.popleft().answer(None)
        else:
            # Redis has ended a subscription by itself, as it does when a cluster's slot moves.
            log.warning("redis_unexpected_push", kind=str(push[0]))
            self.abort("Redis ended a subscription")


OnError = Callable[[RespConnection, Command, str], None]
"""Takes an error, with the command that it answers and their connection."""
