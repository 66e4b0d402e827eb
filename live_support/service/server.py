"""Server: runs a service on its sockets until it is stopped, and tunes the garbage collector for it."""

import asyncio
import gc
import resource
import socket
from collections.abc import Callable
from functools import partial
from math import ceil
from types import FrameType
from typing import Any, cast

import structlog
import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE

from live_support import logs
from live_support.docs_pages.assets import Assets
from live_support.docs_pages.pages import asset_folders
from live_support.http.bounds import HttpBounds
from live_support.http.cors import Cors
from live_support.http.handshake import answering_refusals
from live_support.http.origin import OriginGuard
from live_support.http.protocol import HttpProtocol
from live_support.http.security_headers import SecurityHeaders
from live_support.service.app import Service
from live_support.service.sockets import PortRefused, open_sockets
from live_support.service.spec import ServiceSpec
from live_support.settings import Settings
from live_support.tasks import Tasks
from live_support.websocket.picows_protocol import PicowsProtocol
from live_support.websocket.picows_transport import DirectTransport
from live_support.websocket.uvicorn_protocol import WebSocketProtocol

log = structlog.get_logger()

_OTHER_FILES = 256
# Thresholds of the garbage collector: allocations minus deallocations until a collection of the youngest generation,
# and how many of these until one of the next. The defaults, 700 and 10, would collect too often here.
_GC_YOUNG, _GC_OLDER = 50_000, 20

_PROTOCOLS: dict[str, type[WebSocketProtocol]] = {"picows": PicowsProtocol, "uvicorn": WebSocketProtocol}

_READY_POLL_SECONDS = 0.05


class Server(uvicorn.Server):
    """uvicorn's server, but a stop drains the connections before anything is closed.

    uvicorn itself would send 1012 at once, before the answers to frames that clients have just sent, and would wait for
    a client that does not read.

    Args:
        service: the service to run.
        port: its port, unless `serve` gets sockets.
        on_ready: called once, when `/health` answers 200.
        shares_port: whether other processes listen there, too.
    """

    def __init__(
        self,
        service: Service,
        port: int,
        on_ready: Callable[[], None] | None = None,
        *,
        shares_port: bool = False,
    ) -> None:
        super().__init__(server_config(service.app, service.settings, port))
        self._service = service
        self._on_ready = on_ready
        self._shares_port = shares_port
        self._tasks = Tasks()
        self._limits = service.settings.limits

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal expedites that. uvicorn's own second signal would skip the end of the app."""
        if self.should_exit:
            self._service.drain.expedite()
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and call `on_ready` when `/health` answers 200."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._tasks.spawn(self._tell_when_ready(self._on_ready))

    async def _tell_when_ready(self, on_ready: Callable[[], None]) -> None:
        readiness = self._service.readiness
        while readiness is not None and await readiness.problem():  # noqa: ASYNC110 - Redis gives no event to wait for
            await asyncio.sleep(_READY_POLL_SECONDS)
        on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the connections, then close."""
        drain = self._service.drain
        if self._shares_port:
            # New clients then connect to the other processes on the port, without a 503.
            for server in self.servers:
                server.close()
        await drain.drain()
        # Until each client has answered the close frame: a socket that is closed with unread data is reset, and the
        # client may then never see the frame.
        await drain.wait_until(lambda: not self._open_sockets(), self._limits.leave_seconds)
        for protocol in self._open_sockets():
            protocol.transport.abort()
        # A request that has arrived is answered within that time, or not at all.
        seconds = min(drain.seconds_left, self._limits.store_seconds)
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
    spec: ServiceSpec,
    settings: Settings,
    *,
    share_port: bool = False,
    worker: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Run a service until SIGINT or SIGTERM.

    Args:
        spec: the service.
        settings: of the service.
        share_port: let other processes share the port: the kernel spreads connections over them.
        worker: its number among them, for the logs.
        on_ready: called once, when `/health` answers 200.

    Returns:
        The exit code: 0 after a stop by signal. When the service could not start it is uvicorn's, 3, with which uvicorn
        may exit by itself.
    """
    logs.configure(settings, spec.name, worker)
    _raise_file_limit(settings.max_connections)
    try:
        sockets = open_sockets(settings.hosts, spec.port(settings), shared=share_port)
    except PortRefused as refused:
        log.error("port_refused", host=refused.host, port=refused.port, reason=refused.reason)
        return STARTUP_FAILURE
    server = Server(spec.create(settings), spec.port(settings), on_ready, shares_port=share_port)
    tune_gc()
    server.run(sockets)
    return 0 if server.started else STARTUP_FAILURE


def _raise_file_limit(connections: int) -> None:
    # Each connection is an open file, and the usual soft limit is 1024. Without a free file no connection is accepted,
    # not even that of a health check.
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit < wanted:
        log.warning("file_limit_is_low", limit=hard, wanted=wanted)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def tune_gc() -> None:
    """Exempt the objects of the start from garbage collection, and collect more rarely.

    A full collection visits every object, and no client is served meanwhile; most objects are modules, routes and
    schemas that live until the end (docs/benchmarks/2026-11.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG, _GC_OLDER, _GC_OLDER)


def server_config(app: Litestar, settings: Settings, port: int) -> uvicorn.Config:
    """Make uvicorn's configuration for an app."""
    logs.quiet_libraries()
    cors = Cors(OriginGuard(settings).allows)
    return uvicorn.Config(
        SecurityHeaders(cors.around(answering_refusals(Assets(cast(Any, app), asset_folders())))),
        host=settings.hosts[0],  # if it gets no sockets
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
