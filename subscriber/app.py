"""Builds the Subscriber from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from live_support.agents.auth import AgentAuth
from live_support.chats.join_queue import JoinQueue
from live_support.chats.keys import Keys
from live_support.chats.probe import Probe
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.chats.waiting_view import WaitingView
from live_support.http.handshake import upgrade_required
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.service.app import Service, build_service
from live_support.service.spec import SUBSCRIBER
from live_support.settings import Settings
from subscriber import channels
from subscriber.joins import PATH, joins


def create_service(settings: Settings) -> Service:
    """Build the Subscriber; it connects to nothing before it starts."""
    redis = RedisClient(settings, Probe(Keys(settings.key_prefix)))
    hub = Hub(redis, settings)
    queue = JoinQueue(redis, settings)
    view = WaitingView(queue, hub)
    sweeper = Sweeper(queue, ChatStore(redis, settings), settings)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with view.running(), sweeper.running():
            yield

    return build_service(
        SUBSCRIBER,
        description="Shows the waiting users to the agents, and lets exactly one claim each.",
        settings=settings,
        redis=redis,
        hub=hub,
        route_handlers=[joins, upgrade_required(PATH)],
        dependencies={
            "view": view,
            "queue": queue,
            "auth": AgentAuth.of(settings),
        },
        lifespan=lifespan,
        channels=channels.CHANNELS,
    )
