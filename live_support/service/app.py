"""Builds a service: the Litestar app with its routes, docs pages, health and stop."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import structlog
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from litestar_asyncapi import ChannelDefinition

from live_support.docs_pages import pages as docs_pages
from live_support.http.handshake import note_error
from live_support.http.origin import OriginGuard
from live_support.http.problems import problems_plugin
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.refusal_log import refusal_log
from live_support.service.drain import Drain, nothing_to_catch_up
from live_support.service.health import Readiness, health, health_head
from live_support.service.spec import ServiceSpec
from live_support.settings import Settings
from live_support.websocket.connections import Connections

log = structlog.get_logger()

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Service:
    """A service that is built; a `Server` runs it."""

    settings: Settings
    app: Litestar
    connections: Connections
    """Its open WebSockets."""
    drain: Drain
    """Closes them when the service stops."""
    readiness: Readiness | None = None
    """Checks whether it can do its work; None if it always can."""


def build_service(
    spec: ServiceSpec,
    *,
    description: str,
    settings: Settings,
    redis: RedisClient,
    hub: Hub,
    route_handlers: Sequence[ControllerRouterHandler],
    dependencies: Mapping[str, object],
    lifespan: Lifespan,
    channels: Sequence[ChannelDefinition],
    catch_up: Callable[[], Awaitable[None]] = nothing_to_catch_up,
) -> Service:
    """Build a service from its parts: routes, health, docs pages, origin rule, and their start and end.

    Args:
        spec: names the service.
        description: one paragraph for the docs pages.
        settings: of the service.
        redis: started before `lifespan` and closed after it.
        hub: the service's subscriptions.
        route_handlers: the service's own routes.
        dependencies: single objects, injected by name.
        lifespan: starts and ends the service's own parts.
        channels: WebSockets and Redis channels for the AsyncAPI document.
        catch_up: delivers stored messages that were missed, before the connections are closed.
    """
    connections = Connections()
    drain = Drain(settings.limits, connections, catch_up)
    readiness = Readiness(redis, hub, drain)

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        redis.start()
        try:
            async with lifespan(app):
                log.info("service_started")
                try:
                    yield
                finally:
                    await connections.close(min(drain.task_seconds_left, settings.limits.store_seconds + 1))
        finally:
            await redis.close()
            refusal_log.flush()
            log.info("service_stopped")

    provided = {
        "settings": settings,
        "connections": connections,
        "readiness": readiness,
        **dependencies,
    }
    pages: list[ControllerRouterHandler] = [docs_pages.index, docs_pages.favicon, docs_pages.asyncapi_pages(spec.key)]
    app = Litestar(
        [*pages, health, health_head, *route_handlers],
        dependencies={key: _provide(part) for key, part in provided.items()},
        guards=[OriginGuard(settings)],
        middleware=[drain.refusing_sockets],
        after_exception=[note_error],
        openapi_config=docs_pages.openapi(spec.name, description),
        plugins=[
            docs_pages.StructSchemas(),
            docs_pages.asyncapi(spec.name, spec.key, description, spec.port(settings), channels),
            problems_plugin(),
        ],
        request_max_body_size=settings.limits.body_bytes,
        lifespan=[life],
        logging_config=None,
    )
    return Service(settings, app, connections, drain, readiness)


def _provide(part: object) -> Provide:
    def give() -> object:
        return part

    return Provide(give, sync_to_thread=False)
