"""Builds the ChatServer from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from api import channels
from api.chat import PATH, chat
from api.live_chats import LiveChats
from api.services import Services
from api.users import Registrar, create_user, register_no_name, register_user
from live_support.agents.auth import AgentAuth
from live_support.chats.address_rate import AddressRate
from live_support.chats.join_queue import JoinQueue
from live_support.chats.keys import Keys
from live_support.chats.probe import Probe
from live_support.chats.store import ChatStore
from live_support.chats.sweeper import Sweeper
from live_support.http.handshake import upgrade_required
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.service.app import Service, build_service
from live_support.service.spec import CHAT_SERVER
from live_support.settings import Settings


def create_service(settings: Settings) -> Service:
    """Build the ChatServer; it connects to nothing before it starts."""
    redis = RedisClient(settings, Probe(Keys(settings.key_prefix)))
    hub = Hub(redis, settings)
    store, queue = ChatStore(redis, settings), JoinQueue(redis, settings)
    chats = LiveChats(store, queue, hub, settings)
    sweeper = Sweeper(queue, store, settings)
    registrar = Registrar(store, AddressRate(redis, settings.join_rate, store.keys))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with chats.running(), sweeper.running():
            yield

    service = build_service(
        CHAT_SERVER,
        description="Registers users, and carries the chat between a User and a Support.",
        settings=settings,
        redis=redis,
        hub=hub,
        route_handlers=[register_user, register_no_name, create_user, chat, upgrade_required(PATH)],
        dependencies={
            "services": Services(store, queue, chats, AgentAuth.of(settings)),
            "registrar": registrar,
        },
        lifespan=lifespan,
        channels=channels.CHANNELS,
        catch_up=chats.catch_up,
    )
    service.app.state.registrar = registrar
    return service
