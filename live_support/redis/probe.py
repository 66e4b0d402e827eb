"""Probe: whether Redis lets a process do all that the services do. One round of commands, which change nothing.

What is asked for really is: a script, a write, a publication and a subscription of both kinds. Of the other commands
and keys Redis tells the script whether they are allowed. With several nodes each would be probed by itself.
"""

import re
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import ResponseError

from live_support.chats.keys import Keys
from live_support.redis.connection import Argument
from live_support.redis.write_refusals import error_code, refusal_code

Line = tuple[tuple[Argument, ...], tuple[bytes, bytes] | None]
"""A command, and the push that confirms it, if one does."""

PLAIN: Final = frozenset({"HGET", "HMGET", "PTTL", "XRANGE", "ZADD", "ZCARD", "ZREM", "ZSCORE"})
"""Commands on keys that are sent without a script."""

_CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
_WITHOUT_KEY = {"TIME", "PUBLISH", "SPUBLISH"}
_SUBSCRIPTIONS = ("subscribe", "ssubscribe", "unsubscribe", "sunsubscribe")
_COMMAND = re.compile(r"the '([a-z|]+)' command")
_TAGS = 16
_NEVER = "9" * 16
_LUA = files("live_support.chats") / "lua"


def used_in_scripts() -> frozenset[str]:
    """Name the commands on keys that the scripts use."""
    texts = (path.read_text("utf-8") for path in _LUA.iterdir() if path.name.endswith(".lua"))
    return frozenset(command for text in texts for command in _CALL.findall(text)) - _WITHOUT_KEY


class Probe:
    """What is sent, and what the answers mean.

    Args:
        keys: of this installation.
    """

    def __init__(self, keys: Keys) -> None:
        self._pattern = keys.pattern
        self._join_channel = keys.join_channel
        commands = sorted(used_in_scripts() | PLAIN)
        # One key of each kind. What may be a key, too, is the same one, so only the command or the key can be refused.
        samples = (keys.chat("0" * 32).meta, keys.queue.waiting, keys.rate("0"))
        self._on_keys = [frozenset(f"{command} {key} {key} {key}" for command in commands) for key in samples]
        on_channel = (f"PUBLISH {keys.join_channel} x", f"SUBSCRIBE {keys.join_channel}")
        checks = [*(check for some in self._on_keys for check in sorted(some)), *on_channel]
        script = "\n".join((_LUA / f"{name}.lua").read_text("utf-8") for name in ("prelude", "probe"))
        sha = sha1(script.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._lines: list[Line] = [
            (("SCRIPT", "LOAD", script), None),
            (("EVALSHA", sha, 1, keys.probe, *checks, _NEVER), None),
            (_write_of_nothing(keys.probe), None),
            (("PUBLISH", keys.probe, ""), None),
            (("SPUBLISH", keys.probe, ""), None),
            *(((kind, keys.probe), (kind.encode(), keys.probe.encode())) for kind in _SUBSCRIPTIONS),
        ]
        self._elsewhere: list[Line] = [(_write_of_nothing(f"{keys.probe}:{{{tag}}}"), None) for tag in range(_TAGS)]

    def lines(self, mode: str) -> list[Line]:
        """Say what is to be sent.

        Args:
            mode: of the server, as it says itself: a cluster's node must have the keys of all slots.
        """
        return self._lines + self._elsewhere if mode == "cluster" else self._lines

    def judge(self, replies: Sequence[Any]) -> str | None:
        """Say why Redis cannot be used, or None.

        Args:
            replies: to what was sent, errors among them.
        """
        errors = [str(reply) for reply in replies if isinstance(reply, ResponseError)]
        refused = next((reply for reply in replies if isinstance(reply, list)), [])
        rights = set[str]().union(*(missing_rights(error, self._pattern) for error in errors))
        rights |= self._not_allowed({check.decode() for check in refused}, rights)
        if rights:
            return _lacking(rights)
        if code := next(filter(None, map(refusal_code, errors)), None):
            return f"Redis takes no writes: {code}."
        # Somebody makes Redis forget its scripts, which says nothing of what it can do.
        return next((explain(error) for error in errors if not error.startswith("NOSCRIPT")), None)

    def _not_allowed(self, refused: set[str], rights: set[str]) -> set[str]:
        found = set()
        for checks in self._on_keys:
            if checks <= refused:
                found.add(f"~{self._pattern}")
            else:
                found |= {f"+{check.partition(' ')[0].lower()}" for check in checks & refused}
        for check in refused.difference(*self._on_keys):
            if f"+{check.partition(' ')[0].lower()}" not in rights:
                found.add(f"&{self._join_channel}")
        return found


def missing_rights(error: str, pattern: str = "") -> set[str]:
    """Name the right whose lack an error tells, as `ACL SETUSER` writes it; none if it tells something else.

    Args:
        error: of Redis's. Its words differ between versions.
        pattern: what all our keys and channels match.
    """
    if not lacks_right(error):
        return set()
    if command := _COMMAND.search(error):
        return {f"+{command[1]}"}
    if "channel" in error:
        return {f"&{pattern}"}
    if "key" in error:
        return {f"~{pattern}"}
    return {"+time"}  # the only command in the probe's script; Redis 7.0 does not name it


def lacks_right(error: str) -> bool:
    """Whether an error says that the Redis user may not do this."""
    return error.startswith("NOPERM") or "ACL failure in script" in error or "user executing the script" in error


def explain(error: str) -> str:
    """Say what an error means for an operator, without names, keys and addresses."""
    if rights := missing_rights(error):
        return _lacking(rights)
    code = error_code(error)
    if code == "WRONGPASS" or "AUTH <password>" in error:
        return "Redis does not accept the user name or password."
    if code == "NOAUTH":
        return "Redis wants a password."
    if "DB index" in error or "SELECT is not allowed" in error:
        return "Redis has no database of this number."
    if code in ("MOVED", "CROSSSLOT"):
        return "Redis is one node of a cluster, and holds only a part of the keys."
    if code == "NOPROTO" or "unknown command" in error:
        return "Redis is too old: 7.0 or newer is needed."
    return f"Redis answers: {code}."


def _lacking(rights: set[str]) -> str:
    return f"The Redis user lacks rights: {' '.join(sorted(rights))}."


def _write_of_nothing(key: str) -> tuple[Argument, ...]:
    """Make the command that asks whether Redis takes writes: refused whenever it takes none. The key stays away."""
    return ("ZADD", key, "XX", 0, "nobody")
