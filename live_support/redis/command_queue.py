"""CommandQueue: what waits for Redis, in the order in which it was submitted: held, sent, unsent."""

import asyncio

from live_support.redis.connection import Command, RespConnection
from live_support.redis.errors import unavailable
from live_support.redis.scripts import Scripts
from schemas.errors import Unavailable

_HOLD_SECONDS = 0.05


class CommandQueue:
    """The retryable commands that have no reply yet.

    First come those that are held: Redis has refused them for the moment, and they are sent again soon. Then those that
    are sent: they stand in the connection's `unanswered`. Last come those that are unsent: there was no connection when
    they were submitted, or others were held. When the connection is lost all are unsent.

    Args:
        scripts: sends commands that have waited.
        max_commands: that may wait; more are refused.
    """

    def __init__(self, scripts: Scripts, max_commands: int) -> None:
        self.ready: RespConnection | None = None
        """The connection, while a command may be sent at once: nothing else is to be sent before it."""
        self._scripts = scripts
        self._max_commands = max_commands
        self._connection: RespConnection | None = None
        self._held: list[Command] = []
        self._unsent: list[Command] = []
        self._closed = False

    def put(self, command: Command) -> None:
        """Queue a command that cannot be sent now; refuse it when the queue is full."""
        sent = 0 if self._connection is None else len(self._connection.unanswered)
        if self._closed:
            command.answer(unavailable())
        elif sent + len(self._held) + len(self._unsent) >= self._max_commands:
            command.answer(Unavailable("The server is overloaded, try again later."))
        else:
            self._unsent.append(command)

    def connected(self, connection: RespConnection) -> None:
        """Send everything on a new connection."""
        self._connection = connection
        self._send(connection)

    def disconnected(self) -> None:
        """The connection is lost: what it has not answered is sent again on the next one, in its old order."""
        if self._connection is not None:
            waiting = (*self._held, *self._connection.unanswered, *self._unsent)
            self._held = []
            self._unsent = [command for command in waiting if command.retryable and not command.abandoned]
        self._connection = self.ready = None

    def hold(self, command: Command) -> None:
        """Send a command again a moment later, and what was submitted after it behind it."""
        if command.abandoned:
            return
        if not self._held:
            asyncio.get_running_loop().call_later(_HOLD_SECONDS, self._release)
        self._held.append(command)
        self.ready = None

    def _release(self) -> None:
        connection = self._connection
        if connection is None:
            return  # what was held is unsent now
        if any(command.retryable for command in connection.unanswered):
            # They were sent before, and may have to be held, too.
            asyncio.get_running_loop().call_later(_HOLD_SECONDS, self._release)
        else:
            self._send(connection)

    def _send(self, connection: RespConnection) -> None:
        commands = (*self._held, *self._unsent)
        self._held, self._unsent = [], []
        self.ready = connection
        for command in commands:
            self._scripts.resend(connection, command)

    def abandon_overdue(self, now: float) -> bool:
        """Answer the commands whose deadline is over with `Unavailable`.

        Args:
            now: by the loop's clock.

        Returns:
            Whether Redis has missed a deadline: by its silence, or because there is no connection.
        """
        connection = self._connection
        sent = () if connection is None else connection.unanswered
        # Those that are sent keep their places: their replies may still come.
        overdue = [command for command in sent if command.deadline <= now and not command.abandoned]
        missed = bool(overdue)
        for command in (*self._held, *self._unsent):
            if command.deadline <= now:
                overdue.append(command)
                missed = missed or connection is None
        for command in overdue:
            command.abandon(unavailable())
        # A command reported as failed must not run later.
        self._held = [command for command in self._held if not command.abandoned]
        self._unsent = [command for command in self._unsent if not command.abandoned]
        if not self._held and not self._unsent:
            self.ready = connection
        return missed

    def close(self) -> None:
        """Refuse all that waits, and what comes later."""
        self._closed = True
        for command in (*self._held, *self._unsent):
            command.abandon(unavailable())
