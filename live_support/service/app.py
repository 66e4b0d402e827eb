"""The scaffolding that both services share: the Litestar app with its docs pages, and how it is run."""

import asyncio
import gc
import resource
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import ceil
from types import FrameType
from typing import Any, cast

import structlog
import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from litestar_asyncapi import ChannelDefinition
from uvicorn.config import STARTUP_FAILURE

from live_support import logs
from live_support.docs_pages import pages as docs_pages
from live_support.docs_pages.assets import Assets
from live_support.http.bounds import HttpBounds
from live_support.http.cors import Cors
from live_support.http.handshake import answering_refusals, note_error
from live_support.http.origin import OriginGuard
from live_support.http.problems import problems_plugin
from live_support.http.protocol import HttpProtocol
from live_support.http.security_headers import SecurityHeaders
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.refusal_log import refusal_log
from live_support.service.drain import Drain
from live_support.service.health import health, health_head, why_unavailable
from live_support.service.sockets import PortRefused, open_sockets
from live_support.settings import Settings
from live_support.tasks import Tasks
from live_support.websocket.picows_protocol import DirectTransport, PicowsProtocol
from live_support.websocket.uvicorn_protocol import WebSocketProtocol

log = structlog.get_logger()

_OTHER_FILES = 256
# Allocations minus deallocations until the young are collected, and how many young collections make one of the
# next age. The defaults, 700 and 10, fit programs that allocate less than one per message and connection.
_GC_YOUNG, _GC_OLDER = 50_000, 20

_PROTOCOLS: dict[str, type[WebSocketProtocol]] = {"picows": PicowsProtocol, "uvicorn": WebSocketProtocol}

_READY_POLL_SECONDS = 0.05

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def build_service(
    *,
    name: str,
    key: str,
    description: str,
    port: int,
    settings: Settings,
    redis: RedisClient,
    hub: Hub,
    drain: Drain,
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
        drain: sees the clients off when the service stops.
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
                log.info("service_started")
                yield
        finally:
            drain.connections.close()
            await redis.close()
            refusal_log.flush()
            log.info("service_stopped")

    provided = {
        "settings": settings,
        "redis": redis,
        "hub": hub,
        "drain": drain,
        "connections": drain.connections,
        **dependencies,
    }
    return Litestar(
        [docs_pages.index, docs_pages.favicon, docs_pages.asyncapi_pages(key), health, health_head, *route_handlers],
        dependencies={key: _provide(part) for key, part in provided.items()},
        guards=[OriginGuard(settings)],
        middleware=[drain.refusing_sockets],
        after_exception=[note_error],
        openapi_config=docs_pages.openapi(name, description),
        plugins=[
            docs_pages.StructSchemas(),
            docs_pages.asyncapi(name, key, description, port, channels),
            problems_plugin(),
        ],
        request_max_body_size=settings.limits.body_bytes,
        lifespan=[life],
        state=State({"drain": drain, "why_unavailable": partial(why_unavailable, redis, hub, drain)}),
        logging_config=None,
    )


def _provide(part: object) -> Provide:
    def give() -> object:
        return part

    return Provide(give, sync_to_thread=False)


class Server(uvicorn.Server):
    """uvicorn's server, but a stop sees the clients off before anything is closed.

    uvicorn itself would send 1012 at once, before the answers to what clients have just sent, and would wait for a
    peer that does not read.
    """

    def __init__(
        self,
        app: Litestar,
        settings: Settings,
        port: int,
        on_ready: Callable[[], None] | None = None,
        *,
        shares_port: bool = False,
    ) -> None:
        super().__init__(server_config(app, settings, port))
        self._app = app
        self._on_ready = on_ready
        self._shares_port = shares_port
        self._tasks = Tasks()
        self._drain: Drain = app.state.drain
        self._leave_seconds = settings.limits.leave_seconds
        self._request_seconds = settings.limits.store_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal hastens. uvicorn's own haste would leave out the app's end."""
        if self.should_exit:
            self._drain.hasten()
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and tell when `/health` answers 200."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._tasks.spawn(self._tell_when_ready(self._on_ready))

    async def _tell_when_ready(self, on_ready: Callable[[], None]) -> None:
        while await self._app.state.why_unavailable():  # noqa: ASYNC110 - Redis gives no event to wait for
            await asyncio.sleep(_READY_POLL_SECONDS)
        on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See the clients off, then close."""
        if self._shares_port:
            # New clients are for the others that share the port: they need no 503 to find one of those.
            for server in self.servers:
                server.close()
        await self._drain.see_off()
        # Until each peer has answered the close frame: a socket that is closed with something unread is reset,
        # and the peer may then never see the frame.
        await self._drain.until(lambda: not self._open_sockets(), self._leave_seconds)
        for protocol in self._open_sockets():
            protocol.transport.abort()
        # A request that has arrived is answered within that time, if it is at all.
        seconds = min(self._drain.seconds_left, self._request_seconds)
        cutting_off = asyncio.get_running_loop().call_later(seconds, self._cut_off)
        # For handlers that still wait for Redis a moment after their connection is gone.
        self.config.timeout_graceful_shutdown = ceil(seconds) + 1
        try:
            await super().shutdown(sockets)
        finally:
            cutting_off.cancel()
            self._cut_off()
            await self._tasks.close()

    def _open_sockets(self) -> list[Any]:
        kinds = (WebSocketProtocol, DirectTransport)
        return [each for each in self.server_state.connections if isinstance(each, kinds)]

    def _cut_off(self) -> None:
        for protocol in tuple(self.server_state.connections):
            protocol.transport.abort()


def run_service(
    create_app: Callable[[Settings], Litestar],
    settings: Settings,
    port: int,
    *,
    name: str | None = None,
    share_port: bool = False,
    worker: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Serve an app until SIGINT or SIGTERM.

    Args:
        create_app: builds it.
        settings: of the service.
        port: where it listens.
        name: of the service, for the logs.
        share_port: let other processes that say so, too, listen there: the kernel gives each a part of the connections.
        worker: its number among them, for the logs.
        on_ready: called once, when `/health` answers 200.

    Returns:
        The exit code: 0 after a stop by signal. When the service could not start it is uvicorn's, 3, with which uvicorn
        may exit by itself.
    """
    logs.configure(settings, name, worker)
    _raise_file_limit(settings.max_connections)
    try:
        sockets = open_sockets(settings.hosts, port, shared=share_port)
    except PortRefused as refused:
        log.error("port_refused", host=refused.host, port=refused.port, reason=refused.reason)
        return STARTUP_FAILURE
    server = Server(create_app(settings), settings, port, on_ready, shares_port=share_port)
    _spare_collector()
    server.run(sockets)
    return 0 if server.started else STARTUP_FAILURE


def _raise_file_limit(connections: int) -> None:
    # Each connection is an open file, and the usual soft limit is 1024. When files run out no connection is accepted
    # at all, the health check's neither.
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit < wanted:
        log.warning("file_limit_is_low", limit=hard, wanted=wanted)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _spare_collector() -> None:
    """Exempt what the start has made from garbage collection, and collect more rarely.

    A full collection walks every object that stands, and nobody is served meanwhile; most of them are modules,
    routes and schemas that stay to the end (docs/performance.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG, _GC_OLDER, _GC_OLDER)


def server_config(app: Litestar, settings: Settings, port: int) -> uvicorn.Config:
    """Say how uvicorn serves an app."""
    logs.quiet_libraries()
    cors = Cors(OriginGuard(settings).allows)
    return uvicorn.Config(
        SecurityHeaders(cors.around(answering_refusals(Assets(cast(Any, app), docs_pages.asset_folders())))),
        host=settings.hosts[0],  # where it gets no sockets
        port=port,
        loop="uvloop",
        http=cast(Any, partial(HttpProtocol, bounds=HttpBounds.of(settings))),
        ws=cast(Any, partial(_PROTOCOLS[settings.websocket], limits=settings.limits)),
        ws_max_size=settings.limits.frame_bytes,
        ws_per_message_deflate=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        access_log=False,
        log_config=None,
        server_header=False,
    )
