"""AddressRate: a bucket for each client address, in Redis."""

from live_support.addresses import network
from live_support.chats.keys import Keys
from live_support.chats.scripts import load_script
from live_support.rate import Rate
from live_support.redis.client import RedisClient


class AddressRate:
    """A bucket for each client address, shared by all processes."""

    def __init__(self, redis: RedisClient, rate: Rate, keys: Keys) -> None:
        self._keys = keys
        self._rate = rate
        self._take = load_script(redis, "take")

    async def take(self, address: str) -> int:
        """Take one unit; return 0, or the milliseconds until the next try.

        Raises:
            Unavailable: Redis gives no definite answer.
        """
        interval_us = max(1, round(self._rate.interval_seconds * 1_000_000))
        return int(await self._take([self._keys.rate(network(address))], interval_us, self._rate.count))
