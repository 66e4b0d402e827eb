"""The scaffolding that both services share: the Litestar app with its docs pages, and how it is run."""

import gc
import resource
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import structlog
import uvicorn
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from litestar_asyncapi import ChannelDefinition

from core import docs_pages, logs
from core.assets import Assets
from core.health import health
from core.http_protocol import http_protocol
from core.hub import Hub
from core.origin import LOCALHOST, OriginGuard
from core.problems import problems_plugin
from core.redis import Redis
from core.security_headers import SecurityHeaders
from core.settings import Settings
from core.websocket import WebSocketProtocol

log = structlog.get_logger()

_OTHER_FILES = 256
# Allocations minus deallocations until the young are collected, and how many young collections make one of the
# next age. The defaults, 700 and 10, fit programs that allocate less than one per message and connection.
_GC_YOUNG, _GC_OLDER = 50_000, 20

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def build_service(
    *,
    name: str,
    key: str,
    description: str,
    port: int,
    settings: Settings,
    redis: Redis,
    hub: Hub,
    route_handlers: Sequence[ControllerRouterHandler],
    dependencies: Mapping[str, object],
    lifespan: Lifespan,
    channels: Sequence[ChannelDefinition],
) -> Litestar:
    """Put a service's parts together: routes, health, docs pages, origin rule, and the parts' life.

    Args:
        name: of the service, as the docs pages show it.
        key: its name in the AsyncAPI document.
        description: one paragraph for the docs pages.
        port: where it listens by default.
        settings: of the service.
        redis: started before `lifespan` and closed after it.
        hub: the services' listener.
        route_handlers: the service's own routes.
        dependencies: single objects, injected by name.
        lifespan: of the service's own parts.
        channels: WebSockets and Redis channels for the AsyncAPI document.
    """

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        redis.start()
        try:
            async with lifespan(app):
                log.info("service_started", service=name)
                yield
        finally:
            await redis.close()
            log.info("service_stopped", service=name)

    provided = {"settings": settings, "redis": redis, "hub": hub, **dependencies}
    return Litestar(
        [docs_pages.index, docs_pages.favicon, docs_pages.assets(), health, *route_handlers],
        dependencies={key: _provide(part) for key, part in provided.items()},
        guards=[OriginGuard(settings)],
        cors_config=_cors(settings),
        openapi_config=docs_pages.openapi(name, description),
        plugins=[
            docs_pages.StructSchemas(),
            docs_pages.asyncapi(name, key, description, port, channels),
            problems_plugin(),
        ],
        request_max_body_size=settings.limits.body_bytes,
        lifespan=[life],
        logging_config=None,
    )


def _provide(part: object) -> Provide:
    def give() -> object:
        return part

    return Provide(give, sync_to_thread=False)


def _cors(settings: Settings) -> CORSConfig:
    if settings.allowed_origins:
        return CORSConfig(allow_origins=list(settings.allowed_origins))
    return CORSConfig(allow_origins=[], allow_origin_regex=LOCALHOST.pattern if settings.on_loopback else None)


def run_service(create_app: Callable[[Settings], Litestar], settings: Settings, port: int) -> int:
    """Serve an app until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a stop by signal, 1 when the service could not start.
    """
    logs.configure(settings)
    _raise_file_limit(settings.max_connections)
    server = uvicorn.Server(server_config(create_app(settings), settings, port))
    _spare_collector()
    server.run()
    return 0 if server.started else 1


def _raise_file_limit(connections: int) -> None:
    # Each connection is an open file, and the usual soft limit is 1024. When files run out no connection is accepted
    # at all, the health check's neither.
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most < wanted:
        log.warning("file_limit_is_low", limit=hard, wanted=wanted)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _spare_collector() -> None:
    """Exempt what the start has made from garbage collection, and collect more rarely.

    A full collection walks every object that stands, and nobody is served meanwhile; most of them are modules,
    routes and schemas that stay to the end (docs/performance.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG, _GC_OLDER, _GC_OLDER)


def server_config(app: Litestar, settings: Settings, port: int) -> uvicorn.Config:
    """Say how uvicorn serves an app; the tests serve it in the same way."""
    return uvicorn.Config(
        SecurityHeaders(Assets(cast(Any, app), docs_pages.asset_folders())),
        host=settings.host,
        port=port,
        loop="uvloop",
        http=http_protocol(settings),
        ws=WebSocketProtocol,
        ws_max_size=settings.limits.frame_bytes,
        ws_per_message_deflate=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=round(settings.limits.drain_seconds),
        access_log=False,
        log_config=None,
        server_header=False,
    )
