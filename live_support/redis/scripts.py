"""Scripts: the Lua scripts that Redis must have, loaded with each connection and whenever it has forgotten them."""

from collections.abc import Iterator
from hashlib import sha1

from live_support.redis.connection import Command, RespConnection, ignore, pack
from live_support.redis.deadlines import Deadlines

_EVALSHA = b"$7\r\nEVALSHA\r\n"


class Scripts:
    """The scripts of one client.

    Args:
        deadlines: until when a call may run.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._texts: dict[bytes, str] = {}
        """By their hash."""
        self._forgotten: set[bytes] = set()
        """Loaded again in one write with the next call."""

    def add(self, text: str) -> str:
        """Keep a script; returns the hash by which Redis knows it."""
        sha = sha1(text.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._texts[sha.encode()] = text
        return sha

    def texts(self) -> Iterator[str]:
        """Return the texts of all scripts, for a new connection."""
        return iter(self._texts.values())

    def loaded(self) -> None:
        """Redis has all scripts."""
        self._forgotten.clear()

    def forget(self, command: Command) -> None:
        """Redis does not have the script that a command calls, as after `SCRIPT FLUSH`."""
        self._forgotten.update(sha for sha in self._texts if sha in command.packed)

    def resend(self, connection: RespConnection, command: Command) -> None:
        """Send a command that has waited: with its script if Redis has forgotten that, and until its own deadline."""
        for sha in [sha for sha in self._forgotten if sha in command.packed]:
            # In one write with the call, so that it runs even if Redis is made to forget it all the time.
            connection.send(Command(pack("SCRIPT", "LOAD", self._texts[sha]), ignore))
            self._forgotten.discard(sha)
        if command.packed.startswith(_EVALSHA, command.packed.index(b"$")):
            stamp = self._deadlines.stamp(command.deadline)
            command.packed = command.packed[: -len(stamp)] + stamp
        connection.send(command)
