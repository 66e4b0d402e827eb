"""The queue as the release before the stream of changes knows it, which runs beside a newer one during an upgrade."""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from live_support.chats.keys import QueueKeys
from tests.helpers.keys import KEYS

_FOLDER = Path(__file__).parent.parent / "redis" / "older_release"
_KEYS = [getattr(KEYS.queue, name) for name in QueueKeys._fields if name not in {"changes", "swept", "entries"}]


async def run(redis: Redis, script: str, *arguments: Any) -> Any:
    """Run one of its scripts."""
    text = "\n".join((_FOLDER / f"{name}.lua").read_text("utf-8") for name in ("prelude", "queue", script))
    return await redis.eval(text, len(_KEYS), *_KEYS, *arguments)


async def enqueue(redis: Redis, user_id: str, chat_id: str) -> None:
    """Let a user wait."""
    await run(redis, "enqueue", user_id, chat_id, "{}", KEYS.join_channel, 15_000, 10_000)


async def claim(redis: Redis, user_id: str, claim_id: str) -> None:
    """Claim a user."""
    assert await run(redis, "claim", user_id, claim_id, 15_000) == "won"


async def release(redis: Redis, user_id: str, claim_id: str) -> None:
    """Give a claimed user back."""
    await run(redis, "release", user_id, claim_id, "")


async def serve(redis: Redis, user_id: str, chat_id: str) -> None:
    """Take a user whose Support has joined out of the queue."""
    await run(redis, "serve", user_id, chat_id, 15_000)


async def touch(redis: Redis, user_id: str, chat_id: str, place: int | None) -> None:
    """Say that a user is connected."""
    await run(redis, "touch", 15_000, user_id, chat_id, "" if place is None else place)


async def waiting(redis: Redis) -> list[str]:
    """The users in its list."""
    return list((await run(redis, "snapshot", ""))[1::3])
