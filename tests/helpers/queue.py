"""Users who wait in a JoinQueue, without sockets."""

from redis.asyncio import Redis

from live_support.chats.join_queue import Claimant, JoinQueue, Waiting
from tests.helpers.chats import hex_id
from tests.helpers.keys import KEYS

Kept = dict[bytes, bytes]

NIKA, ANA, LEO = (hex_id(number) for number in range(1, 4))


def chat_of(user_id: str) -> str:
    """The id of the user's chat."""
    return user_id[::-1]


def by(name: str) -> Claimant:
    """An agent and its connection: of "vika:one" the connection "one", of "one" that of an anonymous agent."""
    agent_id, _, connection_id = name.rpartition(":")
    return Claimant(agent_id, connection_id)


async def enqueue(queue: JoinQueue, *user_ids: str) -> list[int]:
    """Let users wait; returns since when they do."""
    times = [await queue.enqueue(user_id=user_id, chat_id=chat_of(user_id)) for user_id in user_ids]
    return [queued_at_us for queued_at_us in times if queued_at_us is not None]


async def entries(queue: JoinQueue) -> list[Waiting]:
    """The waiting list."""
    waiting_list = await queue.waiting_list()
    assert waiting_list is not None
    return waiting_list.users


async def waiting(queue: JoinQueue) -> list[str]:
    """The users in the waiting list, in its order."""
    return [user.user_id for user in await entries(queue)]


async def entry_id_of(queue: JoinQueue, user_id: str) -> int:
    """The number of a waiting user's entry."""
    return next(user.entry_id for user in await entries(queue) if user.user_id == user_id)


async def version(queue: JoinQueue) -> str:
    """The waiting list's version."""
    waiting_list = await queue.waiting_list()
    assert waiting_list is not None
    return waiting_list.version


def number_of(version: str) -> int:
    """What of a version rises."""
    return int(version.partition("-")[0])


async def end_lease(redis: Redis, user_id: str) -> None:
    """Do as if the lease of a user's claim were over."""
    assert await redis.zadd(KEYS.queue.leases, {user_id: 1}, xx=True, ch=True) == 1, "the user is not claimed"


async def end_grace(redis: Redis, user_id: str) -> None:
    """Do as if no process had touched a user for the grace."""
    assert await redis.zadd(KEYS.queue.present, {user_id: 1}, xx=True, ch=True) == 1, "the user is not known"


class Reader:
    """Follows the waiting list as a Subscriber does: by what has changed, where that is told."""

    def __init__(self, queue: JoinQueue) -> None:
        self._queue = queue
        self._version = ""
        self._users: dict[str, Waiting] = {}
        self.whole_readings = 0

    async def read(self) -> list[Waiting]:
        """What the list is by now, in its order."""
        reading = await self._queue.waiting_list(known_version=self._version)
        if reading is not None:
            self._version = reading.version
            if reading.gone is None:
                self.whole_readings += 1
                self._users = {}
            for user_id in reading.gone or []:
                self._users.pop(user_id, None)
            self._users |= {user.user_id: user for user in reading.users}
        return sorted(self._users.values(), key=lambda user: (user.queued_at_us, user.user_id))


async def keep(client: Redis) -> Kept:
    """What Redis holds of the queue, to `bring_back` as after a failover; the client must answer bytes."""
    keys = [key.encode() for key in KEYS.queue[:-1]]
    return {key: value for key in keys if (value := await client.dump(key)) is not None}


async def bring_back(client: Redis, kept: Kept) -> None:
    """Let Redis hold what it held, in one step."""
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(*KEYS.queue[:-1])
        for key, value in kept.items():
            pipeline.restore(key, 0, value)
        await pipeline.execute()
