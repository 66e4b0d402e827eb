"""The one place where the Subscriber's parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from core.auth import AgentAuth
from core.drain import Drain
from core.hub import Hub
from core.join_queue import JoinQueue
from core.redis import Redis
from core.service import build_service
from core.settings import Settings
from core.store import ChatStore
from subscriber import channels
from subscriber.joins import joins
from subscriber.waiting_view import WaitingView


def create_app(settings: Settings) -> Litestar:
    """Build the Subscriber; nothing connects before it starts."""
    redis = Redis(settings)
    hub = Hub(redis, settings)
    queue = JoinQueue(redis, settings)
    view = WaitingView(queue, ChatStore(redis, settings), hub, settings)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with view.running():
            yield

    return build_service(
        name="Subscriber",
        key=channels.SERVER,
        description="Shows the waiting users to the agents, and lets exactly one claim each.",
        port=settings.subscriber_port,
        settings=settings,
        redis=redis,
        hub=hub,
        drain=Drain(settings.limits),
        route_handlers=[joins],
        dependencies={
            "view": view,
            "queue": queue,
            "auth": AgentAuth.of(settings),
        },
        lifespan=lifespan,
        channels=channels.CHANNELS,
    )
