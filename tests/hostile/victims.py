"""A ChatServer that is attacked, and the honest users who chat beside the attack."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.helpers.services import DEADLINE, Service, eventually, free_port, is_healthy
from tests.helpers.wire import Socket, User

HONEST_USERS = 4
PAUSE_SECONDS = 1 / 15
"""Between two messages of an honest user: fewer than the rate that everybody has."""

MIB = 1024


class Victim(NamedTuple):
    """A ChatServer in a process of its own, with the limits of production."""

    service: Service
    process: asyncio.subprocess.Process

    @property
    def rss_kib(self) -> int:
        """Its memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


@asynccontextmanager
async def running(redis_url: str, folder: Path, **settings: str) -> AsyncIterator[Victim]:
    """Run a ChatServer with these settings. Afterwards its log must be free of errors."""
    port, log = free_port(), folder / "log"
    settings = {"REDIS_URL": redis_url, "CHAT_PORT": str(port), **settings}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "live_support.cli.main", "chat-server"),
            env={**os.environ, **{f"LIVE_SUPPORT_{name}": value for name, value in settings.items()}},
            stderr=output,
        )
    service = Service(port)
    try:
        await eventually(lambda: is_healthy(service))
        yield Victim(service, process)
        assert process.returncode is None, log.read_text()
        assert not re.search(r"rror|Traceback|repair_failed", log.read_text()), log.read_text()
    finally:
        process.terminate()
        await process.wait()


class Honest:
    """Users who chat, and measure how long their echoes take."""

    def __init__(self) -> None:
        self.echo_ms: list[float] = []

    @asynccontextmanager
    async def chatting(self, service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            talks = []
            for _ in range(HONEST_USERS):
                user = await User.register(service)
                socket = await stack.enter_async_context(user.chat(service))
                await socket.send(user.join())
                assert await socket.receive() == user.joined
                talks.append(asyncio.create_task(self._talk(user, socket)))
            try:
                yield
            finally:
                for talk in talks:
                    talk.cancel()
                for outcome in await asyncio.gather(*talks, return_exceptions=True):
                    assert isinstance(outcome, asyncio.CancelledError), outcome

    async def _talk(self, user: User, socket: Socket) -> None:
        said = 0
        while True:
            said += 1
            began = time.monotonic()
            await socket.send(user.says(f"{said}"))
            async with asyncio.timeout(DEADLINE):
                echo = json.loads(await socket.connection.recv())
            self.echo_ms.append((time.monotonic() - began) * 1000)
            assert echo["args"]["content"] == f"{said}", echo
            await asyncio.sleep(PAUSE_SECONDS)
