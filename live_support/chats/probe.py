"""Probe: checks whether Redis allows everything that the services do, by one round of commands that change nothing.

It runs a script, a write, a publication and a subscription of both kinds. For the other commands and keys the script
asks Redis whether they are allowed. With several nodes each would need its own probe.
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final

from redis.exceptions import ResponseError

from live_support.chats.keys import Keys
from live_support.chats.scripts import key_commands, script_text
from live_support.redis.errors import explain, explain_rights, missing_rights, refusal_code
from live_support.redis.health import ProbeCommand

PLAIN_COMMANDS: Final = frozenset({"HGET", "HMGET", "PTTL", "XRANGE", "ZADD", "ZCARD", "ZREM", "ZSCORE"})
"""Commands on keys that are sent without a script."""

_SUBSCRIPTIONS = ("subscribe", "ssubscribe", "unsubscribe", "sunsubscribe")
_TAGS = 16
_NEVER = "9" * 16


class Probe:
    """The commands, and the meaning of their replies.

    Args:
        keys: of this installation.
    """

    def __init__(self, keys: Keys) -> None:
        self._pattern = keys.pattern
        self._join_channel = keys.join_channel
        commands = sorted(key_commands() | PLAIN_COMMANDS)
        # One key of each kind. Arguments that may count as keys, too, are the same key, so that no other is refused.
        samples = (keys.chat("0" * 32).meta, keys.queue.waiting, keys.rate("0"))
        self._on_keys = [frozenset(f"{command} {key} {key} {key}" for command in commands) for key in samples]
        on_channel = (f"PUBLISH {keys.join_channel} x", f"SUBSCRIBE {keys.join_channel}")
        checks = [*(check for some in self._on_keys for check in sorted(some)), *on_channel]
        script = script_text("probe")
        sha = sha1(script.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._commands = [
            ProbeCommand(("SCRIPT", "LOAD", script)),
            ProbeCommand(("EVALSHA", sha, 1, keys.probe, *checks, _NEVER)),
            _write_probe(keys.probe),
            ProbeCommand(("PUBLISH", keys.probe, "")),
            ProbeCommand(("SPUBLISH", keys.probe, "")),
            *(ProbeCommand((kind, keys.probe), (kind.encode(), keys.probe.encode())) for kind in _SUBSCRIPTIONS),
        ]
        self._in_other_slots = [_write_probe(f"{keys.probe}:{{{tag}}}") for tag in range(_TAGS)]

    def commands(self, mode: str) -> list[ProbeCommand]:
        """Return the commands to send.

        Args:
            mode: the mode that the server reports. A node of a cluster must have the keys of all slots.
        """
        return self._commands + self._in_other_slots if mode == "cluster" else self._commands

    def judge(self, replies: Sequence[Any]) -> str | None:
        """Return why Redis cannot be used, or None.

        Args:
            replies: to the commands, in their order; errors among them.
        """
        errors = [str(reply) for reply in replies if isinstance(reply, ResponseError)]
        refused = next((reply for reply in replies if isinstance(reply, list)), [])
        rights = set[str]().union(*(missing_rights(error, self._pattern) for error in errors))
        rights |= self._not_allowed({check.decode() for check in refused}, rights)
        if rights:
            return explain_rights(rights)
        if code := next(filter(None, map(refusal_code, errors)), None):
            return f"Redis accepts no writes: {code}."
        # Flushed scripts do not mean that Redis cannot be used.
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


def _write_probe(key: str) -> ProbeCommand:
    """Make a write that changes nothing, and is refused if Redis accepts no writes. The key never exists."""
    return ProbeCommand(("ZADD", key, "XX", 0, "nobody"))
