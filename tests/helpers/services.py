"""Services in this process on real ports, the settings they run with, and waiting without waiting for a time."""

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, NamedTuple

import httpx
import msgspec

from live_support.limits import Limits
from live_support.rate import Rate
from live_support.service import app
from live_support.service.server import Server
from live_support.settings import Settings

UNIT = float(os.environ.get("LIVE_SUPPORT_TEST_UNIT_MS", "100")) / 1000
"""The tests' unit of time in seconds: every short setting is some of these. A slow machine wants a larger one."""

DEADLINE = 150 * UNIT
"""How long a test waits for what must come."""

WEBSOCKET = os.environ.get("LIVE_SUPPORT_WEBSOCKET") or "picows"
"""The WebSocket layer that the tests run with; the whole suite passes with both."""


def make_settings(redis_url: str, **changes: Any) -> Settings:
    """Settings of production, without the rates that tests would run into."""
    defaults = {
        "redis_url": redis_url,
        "join_rate": Rate("100000/second"),
        "chat_join_rate": Rate("100000/second"),
        "message_rate": Rate("100000/second"),
        "websocket": WEBSOCKET,
        "limits": Limits(stop_notice_seconds=0),
    }
    return Settings(**{**defaults, **changes})


class Service(NamedTuple):
    """A running service."""

    port: int
    stop: Callable[[], asyncio.Task[None]] | None = None
    """Does what SIGTERM does, for a service in this process; the task is done when it has stopped."""

    @property
    def http(self) -> str:
        """Base URL of its HTTP routes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Base URL of its WebSockets."""
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve(
    create_service: Callable[[Settings], app.Service], settings: Settings, *, port: int = 0
) -> AsyncIterator[Service]:
    """Run a service as production does, on a free port unless one is given, until the block ends."""
    server = Server(create_service(settings), port)
    # uvicorn would take over the signals of the whole test run.
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    running = asyncio.create_task(server.serve())

    def stop() -> asyncio.Task[None]:
        server.handle_exit(signal.SIGTERM, None)
        return running

    try:
        while not server.started:
            assert not running.done(), "the service did not start"
            await asyncio.sleep(0.001)
        service = Service(server.servers[0].sockets[0].getsockname()[1], stop)
        await eventually(lambda: is_healthy(service))
        yield service
    finally:
        # The second time it would expedite the stop.
        await (running if running.done() else stop())


async def is_healthy(service: Service) -> bool:
    """Whether a service answers that it can do its work."""
    try:
        return (await http("GET", f"{service.http}/health")).status_code == 200
    except httpx.TransportError:
        return False


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until an (async) condition holds; fail at the deadline."""
    async with asyncio.timeout(DEADLINE):
        while True:
            outcome = condition()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            await asyncio.sleep(UNIT / 20)


async def http(method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request, without the environment's proxies."""
    # Loading certificates, which no test needs, would take longer than the request.
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501
        return await client.request(method, url, **options)


# Below the ports that Linux gives to outgoing connections, and from another place in each process: what one test has
# found free is not taken by another test's connection, or by a test beside it, before something listens there.
_PORTS = itertools.cycle(range(10_000, 32_000))
for _ in range(os.getpid() * 4_001 % 22_000):
    next(_PORTS)


def free_port() -> int:
    """A port that nobody listens on now, and that this process has not given to another test lately."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


def replace(settings: Settings, **changes: Any) -> Settings:
    """The settings with some changed."""
    return msgspec.structs.replace(settings, **changes)


class Stopwatch:
    """Time since it was made."""

    def __init__(self) -> None:
        self._started = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started
