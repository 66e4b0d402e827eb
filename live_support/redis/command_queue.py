"""CommandQueue: the commands without a reply, in the order of submission: held, sent, unsent."""

import asyncio

from live_support.redis.connection import Command, RespConnection
from live_support.redis.errors import unavailable
from live_support.redis.scripts import Scripts
from schemas.errors import Unavailable

_HOLD_SECONDS = 0.05


class CommandQueue:
    """The retryable commands that have no reply yet.

    Held commands come first: Redis has refused them for the moment, and they are sent again soon. Then come sent ones,
    which are in the connection's `unanswered`. Last come unsent ones: there was no connection when they were submitted,
    or others were held. When the connection is lost all are unsent.

    Args:
        scripts: sends commands that had to wait.
        max_commands: how many may wait; more are refused.
    """

    def __init__(self, scripts: Scripts, max_commands: int) -> None:
        self.ready: RespConnection | None = None
        """The connection, while a command may be sent at once; None while others must be sent first."""
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
        """Note that the connection is lost: all commands are sent on the next one, in their old order."""
        if self._connection is not None:
            waiting = (*self._held, *self._connection.unanswered, *self._unsent)
            self._held = []
            self._unsent = [command for command in waiting if command.retryable and not command.abandoned]
        self._connection = self.ready = None

    def hold(self, command: Command) -> None:
        """Send a command again a moment later, and after it those that were submitted later."""
        if command.abandoned:
            return
        if not self._held:
            asyncio.get_running_loop().call_later(_HOLD_SECONDS, self._release)
        self._held.append(command)
        self.ready = None

    def _release(self) -> None:
        connection = self._connection
        if connection is None:
            return  # the held ones are unsent now
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
        """Fail the commands whose deadline is over with `Unavailable`.

        Args:
            now: by the loop's clock.

        Returns:
            Whether Redis has missed a deadline, by silence or because there is no connection.
        """
        connection = self._connection
        sent = () if connection is None else connection.unanswered
        # Sent ones stay in the queue: their replies may still come.
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
        """Fail all commands, and later ones."""
        self._closed = True
        for command in (*self._held, *self._unsent):
            command.abandon(unavailable())
