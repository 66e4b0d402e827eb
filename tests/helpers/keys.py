"""The names that Redis knows with the default settings, and a client that knows them."""

from live_support.chats.keys import Keys
from live_support.chats.probe import Probe
from live_support.redis.client import RedisClient
from live_support.settings import Settings

KEYS = Keys()


def make_redis(settings: Settings) -> RedisClient:
    """A client as the services make it."""
    return RedisClient(settings, Probe(Keys(settings.key_prefix)))
