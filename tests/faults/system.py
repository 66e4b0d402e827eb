"""The system under test: several processes of each service, each with a network of its own to one Redis."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests.faults.redis_server import RedisServer
from tests.helpers.proxy import RedisProxy
from tests.helpers.services import Service, free_port, is_healthy

START_SECONDS = 60
"""For the start and the end of a process. Generous: it only decides how late a failure shows."""

COMMAND = (str(Path(sys.executable).with_name("live-support")),)


class ServiceProcess:
    """A process that runs one service, always on the same port, so that its clients find it again.

    Args:
        name: of its command, such as `chat-server`.
        proxy: its way to Redis.
        settings: by their names without the prefix.
        log: the file that its output goes to.
    """

    def __init__(self, name: str, proxy: RedisProxy, settings: Mapping[str, str], log: Path) -> None:
        port = free_port()
        self.name = name
        self.proxy = proxy
        self.service = Service(port)
        self.log = log
        self.command: Sequence[str] = COMMAND
        """What runs the service; its name is added."""
        ours = {**settings, "REDIS_URL": proxy.url, "CHAT_PORT": str(port), "SUBSCRIBER_PORT": str(port)}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LIVE_SUPPORT_")}
        self._env = inherited | {f"LIVE_SUPPORT_{key}": value for key, value in ours.items()}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it is healthy."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self.command, self.name, "--end-with-stdin"),
                env=self._env,
                # Closed however the tests end, and so is the service then.
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_SECONDS):
            await self.healthy()

    async def healthy(self) -> None:
        """Wait until it says that it can do its work."""
        while not await is_healthy(self.service):
            assert self.runs, self.log.read_text()
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it without warning."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> tuple[int, float]:
        """Ask it to stop; returns the exit code, and the seconds it took."""
        started = time.monotonic()
        code = await self._end(signal.SIGTERM)
        return code, time.monotonic() - started

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self.signal(number)
        async with asyncio.timeout(START_SECONDS):
            return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.runs:
            assert self._process is not None
            self._process.send_signal(number)

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None


class System:
    """Redis and the services."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.chat_servers: list[ServiceProcess] = []
        self.subscribers: list[ServiceProcess] = []
        self.settings: Mapping[str, str] = {}

    @property
    def services(self) -> list[ServiceProcess]:
        """All processes of both services."""
        return [*self.chat_servers, *self.subscribers]

    @property
    def proxies(self) -> list[RedisProxy]:
        """Every service's way to Redis."""
        return [process.proxy for process in self.services]

    async def heal(self) -> None:
        """Wait until everything works again; processes and Redis must have been started again by whoever ended them."""
        for proxy in self.proxies:
            proxy.heal()
        async with asyncio.timeout(START_SECONDS):
            for process in self.services:
                await process.healthy()

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        folder: Path,
        *,
        settings: Mapping[str, str],
        chat_servers: int = 2,
        subscribers: int = 2,
        commands: Mapping[int, Sequence[str]] = MappingProxyType({}),
    ) -> AsyncIterator[Self]:
        """Run everything until the block ends, at which every service must stop with code 0 and without a traceback.

        Args:
            folder: for data and logs.
            settings: of the services, by their names without the prefix.
            chat_servers: how many.
            subscribers: how many.
            commands: what runs a ChatServer, by its number, where that is not `live-support`.
        """
        redis = RedisServer(folder)
        system = cls(redis)
        system.settings = settings
        async with AsyncExitStack() as stack:
            stack.push_async_callback(redis.close)
            await redis.start()
            for name, count in {"chat-server": chat_servers, "subscriber": subscribers}.items():
                for number in range(count):
                    proxy = await stack.enter_async_context(RedisProxy.to(redis.url))
                    process = ServiceProcess(name, proxy, settings, folder / f"{name}-{number}.log")
                    (system.chat_servers if name == "chat-server" else system.subscribers).append(process)
            for number, command in commands.items():
                system.chat_servers[number].command = command
            try:
                await asyncio.gather(*(process.start() for process in system.services))
                yield system
                await system.heal()
                ended = await asyncio.gather(*(process.terminate() for process in system.services))
            finally:
                for process in system.services:
                    process.signal(signal.SIGKILL)
            assert {code for code, _ in ended} == {0}
            for process in system.services:
                assert "Traceback" not in (text := process.log.read_text()), f"{process.name}:\n{text[-5000:]}"
