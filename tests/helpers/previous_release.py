"""The chats and the queue as the last release before the stored states knows them, with the scripts that it sends."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from live_support.chats.join_queue import JoinQueue
from live_support.chats.keys import QueueKeys
from live_support.chats.store import ChatStore
from live_support.redis.client import RedisClient, Script
from live_support.settings import Settings
from schemas.codec import encode
from tests.helpers.chats import VIKA

_FOLDER = Path(__file__).parent.parent / "redis" / "previous_release"

Call = Callable[..., Any]


def _load(redis: RedisClient, *names: str, **constants: int) -> Script:
    known = [f"local {name.upper()} = {value}" for name, value in constants.items()]
    return redis.script("\n".join([*known, *((_FOLDER / f"{name}.lua").read_text() for name in ("prelude", *names))]))


class PreviousQueue(JoinQueue):
    """The queue in a process of that release."""

    def __init__(self, redis: RedisClient, settings: Settings) -> None:
        super().__init__(redis, settings)
        hold, release, claim = (self._script(redis, name) for name in ("hold", "release", "claim"))
        snapshot = self._script(redis, "snapshot")

        async def entries(keys: QueueKeys, known: str) -> list[Any] | None:
            reply = await snapshot(keys, known)
            if reply is None:
                return None
            begin: list[Any] = reply[:2]
            fields = reply[2:]
            for user, chat, stay, place in zip(*[iter(fields)] * 4, strict=True):
                begin += [user, encode(["waiting", chat.decode(), stay.decode()]) if chat else b"", place]
            return begin

        new: dict[str, Call] = {
            "enqueue": self._script(redis, "enqueue"),
            "claim": lambda keys, user, agent, connection, lease: claim(keys, user, f"{agent}:{connection}", lease),
            "claim_for_join": lambda keys, user, chat, agent, connection, lease: hold(
                keys, user, chat, agent, f"{agent}:{connection}~", lease
            ),
            "release": lambda keys, user, agent, connection, how: release(
                keys, user, f"{agent}:{connection}" + ("~" if how == "join" else ""), ""
            ),
            "release_overdue": lambda keys, user, claim: release(keys, user, claim, "overdue"),
            "mark_served": self._script(redis, "serve"),
            "forget": self._script(redis, "forget"),
            "touch": self._script(redis, "touch"),
            "sweep": self._script(redis, "sweep"),
            "snapshot": entries,
        }
        for name, call in new.items():
            assert hasattr(self, f"_{name}")
            setattr(self, f"_{name}", call)

    @staticmethod
    def _script(redis: RedisClient, name: str) -> Call:
        script = _load(redis, "queue", name)
        return lambda keys, *arguments: script(
            [key for key, field in zip(keys, QueueKeys._fields, strict=True) if field != "entries"], *arguments
        )


class _Append:
    """Its `append.lua`, which is told what a sender is, not who."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def packed(self, missing: int, keys: Sequence[str], field: str, own_id: str) -> bytes:
        return self._script.packed(missing, keys, field, "Support" if own_id == VIKA else "User")


class PreviousStore(ChatStore):
    """The chats in a process of that release."""

    def __init__(self, redis: RedisClient, settings: Settings) -> None:
        super().__init__(redis, settings)
        ttls = {"chat_ttl_ms": settings.chat_ttl_ms, "waiting_ttl_ms": settings.waiting_ttl_ms}
        join = _load(
            redis, "chat", "join", connections=5, replaced=1000, joins=60, join_us=1, whole_log_bytes=16384, **ttls
        )
        bounds = {"places": 32, "most_messages": settings.chat_max_messages, "most_bytes": settings.chat_max_bytes}

        async def joined(*arguments: Any) -> list[Any]:
            reply: list[Any] = await join(*arguments)
            if len(reply) > 2:
                reply[3] = b"active" if reply[1] else b"waiting" if reply[3] else b"open"
            return reply

        new = {
            "open": _load(redis, "chat", "open"),
            "join": joined,
            "replace": _load(redis, "chat", "replace", connections=5),
            "append": _Append(_load(redis, "chat", "timestamp", "append", **bounds, **ttls)),
        }
        for name, call in new.items():
            assert hasattr(self, f"_{name}")
            setattr(self, f"_{name}", call)
