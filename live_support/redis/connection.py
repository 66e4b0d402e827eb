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
"""Called with a reply, or with an exception instead."""
OnPush = Callable[[bytes, bytes], None]
"""Called with a publication: its channel and its payload."""

_NOTHING = object()
_PUBLICATIONS = (b"smessage", b"message")


def pack(*arguments: Argument) -> bytes:
    """Encode a command, its name and arguments, as Redis reads it."""
    return hiredis.pack_command(arguments)  # type: ignore[arg-type,no-any-return]  # the stub allows one item


class Command(Struct, eq=False):
    """A submitted command. A struct, because it takes half the time of another object to make, once per message."""

    packed: bytes
    """The command as it is sent."""
    on_reply: OnReply
    """Called once, with the reply or an exception."""
    key: str = ""
    """The key that decides which node of a cluster gets the command; "" where any node will do."""
    submitted_at: float = 0.0
    """By the loop's clock."""
    deadline: float = math.inf
    """The deadline of the reply, by the loop's clock."""
    retryable: bool = False
    """Whether it is sent again on the next connection if this one is lost before the reply."""
    confirmation: tuple[bytes, bytes] | None = None
    """The push that answers instead of a reply, as with subscriptions: its kind and its channel."""

    def answer(self, reply: Any) -> None:
        """Pass on the reply."""
        try:
            self.on_reply(reply)
        except Exception as error:  # the others want their replies all the same
            log.error("reply_failed", exc_info=error)

    def abandon(self, error: Exception) -> None:
        """Answer with an exception. If the reply still comes, it is dropped."""
        self.answer(error)
        self.on_reply = ignore

    @property
    def abandoned(self) -> bool:
        """Whether the command was answered with an exception already."""
        return self.on_reply is ignore


def ignore(_: object) -> None:
    """Ignore a reply."""


def resolve(future: "asyncio.Future[Any]", reply: Any) -> None:
    """Complete a future with a reply or an exception, unless it is done."""
    if future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


class RespConnection(asyncio.Protocol):
    """The connection. What is sent within one turn of the event loop leaves in one write.

    Args:
        on_push: called with every publication.
        on_error: called with the connection, a retryable command, and Redis's error for it.
    """

    def __init__(self, on_push: OnPush, on_error: "OnError") -> None:
        self.unanswered: deque[Command] = deque()
        """The sent commands, oldest first."""
        self.lost = asyncio.Event()
        """Set when the connection has ended; the retryable commands are in `unanswered` then."""
        self.last_answered = 0.0
        """When a command was answered last, by the loop's clock. Publications do not count: they do not show that
        commands reach Redis."""
        self.mode = ""
        """The server's mode: standalone, or one node of a cluster."""
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
        """Send a command. Its `on_reply` is called with the reply."""
        self.unanswered.append(command)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command.packed)

    def call(self, *arguments: Argument, confirmation: tuple[bytes, bytes] | None = None) -> "asyncio.Future[Any]":
        """Send a command that is not repeated on another connection; the future gives the reply.

        Args:
            arguments: the command's name and arguments.
            confirmation: the push that answers instead of a reply, if one does.
        """
        future = self._loop.create_future()
        self.send(Command(pack(*arguments), partial(resolve, future), confirmation=confirmation))
        return future

    def retry(self, command: Command, because: str) -> None:
        """Have an answered command sent again, at its old position, on the next connection."""
        self.unanswered.appendleft(command)
        self.abort(because)

    def abort(self, because: str) -> None:
        """Cut the connection at once. Data that was received and not parsed yet is lost."""
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
            # Every message causes a reply and a push, so this code makes few calls.
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
        # Confirmations come in order with the replies, so only the oldest command can be meant.
        if self.unanswered and self.unanswered[0].confirmation == (push[0], push[1]):
            self.unanswered.popleft().answer(None)
        else:
            # Redis has ended a subscription by itself, as when a slot of a cluster moves.
            log.warning("redis_unexpected_push", kind=str(push[0]))
            self.abort("Redis ended a subscription")


OnError = Callable[[RespConnection, Command, str], None]
"""Called with an error, the command that it answers, and their connection."""
