"""Scripts: the Lua scripts, loaded into Redis with each connection and whenever Redis has forgotten them."""

from collections.abc import Iterator
from hashlib import sha1

from live_support.redis.connection import Command, RespConnection, ignore, pack
from live_support.redis.deadlines import Deadlines

_EVALSHA = b"$7\r\nEVALSHA\r\n"


class Scripts:
    """The scripts of one client.

    Args:
        deadlines: gives each call its deadline.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._texts: dict[bytes, str] = {}
        """The scripts by their hash."""
        self._forgotten: set[bytes] = set()
        """The scripts to be loaded again, in one write with the next call."""

    def add(self, text: str) -> str:
        """Register a script; return the hash by which Redis knows it."""
        sha = sha1(text.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._texts[sha.encode()] = text
        return sha

    def texts(self) -> Iterator[str]:
        """Return the texts of all scripts, for a new connection."""
        return iter(self._texts.values())

    def loaded(self) -> None:
        """Note that Redis has all scripts."""
        self._forgotten.clear()

    def forget(self, command: Command) -> None:
        """Note that Redis does not have the script that a command calls, as after `SCRIPT FLUSH`."""
        self._forgotten.update(sha for sha in self._texts if sha in command.packed)

    def resend(self, connection: RespConnection, command: Command) -> None:
        """Send a command that had to wait: with its script if Redis has forgotten that, and with its own deadline."""
        for sha in [sha for sha in self._forgotten if sha in command.packed]:
            # In one write with the call, so that it runs even if scripts are flushed all the time.
            connection.send(Command(pack("SCRIPT", "LOAD", self._texts[sha]), ignore))
            self._forgotten.discard(sha)
        if command.packed.startswith(_EVALSHA, command.packed.index(b"$")):
            stamp = self._deadlines.stamp(command.deadline)
            command.packed = command.packed[: -len(stamp)] + stamp
        connection.send(command)
