"""The network between a service and Redis, with faults: it tells command connections from the one that listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, Self

Kind = Literal["commands", "publications"]
KINDS: tuple[Kind, Kind] = ("commands", "publications")

# A script names all its keys, so these tell the scripts of a chat and of the queue apart from everything else.
CHAT_SCRIPT = b":dedupe"
QUEUE_SCRIPT = b"{joins}:waiting"


class _Wire:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.kind: Kind = "commands"
        self.loses_reply = False

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class RedisProxy:
    """Passes bytes on, unless a fault says otherwise.

    Args:
        port: of the Redis behind it, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._redis_port = port
        self._flows = {kind: asyncio.Event() for kind in KINDS}
        self._wires: set[_Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scripts = {CHAT_SCRIPT: 0, QUEUE_SCRIPT: 0}
        self.lose_every: int | None = None
        """Of every so many scripts of a chat, and of the queue, the answer does not arrive: the connection is cut."""
        self.lost_replies = 0
        self.answers_to_pass: int | None = None
        """Only so many more answers arrive, though the connections stand; None for all."""
        self.connections = 0
        """How often somebody connected."""
        self.listeners = 0
        """How often a connection has begun to listen."""
        self.url = ""
        self.heal()

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """Listen until the block ends; what connects to `url` reaches the Redis."""
        proxy = cls(port)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.heal()
            proxy.cut()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    def cut(self, *kinds: Kind) -> None:
        """Cut every connection, or those of some kinds."""
        for wire in tuple(self._wires):
            if not kinds or wire.kind in kinds:
                wire.cut()

    def freeze(self, *kinds: Kind) -> None:
        """Become a black hole: connections stand and can be made, but nothing arrives until the healing.

        What was sent meanwhile arrives then, as TCP's repetitions would, even if its sender has given up.
        """
        for kind in kinds or KINDS:
            self._flows[kind].clear()

    def heal(self) -> None:
        """Work again."""
        self.lose_every = None
        for flow in self._flows.values():
            flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._redis_port)
        except (OSError, RuntimeError):  # the last one by uvloop, when reset while connecting
            writer.transport.abort()
            self._tasks.discard(task)
            return
        wire = _Wire(writer, server_writer)
        self._wires.add(wire)
        try:
            await asyncio.gather(self._requests(wire, reader), self._replies(wire, server_reader))
        finally:
            self._wires.discard(wire)
            self._tasks.discard(task)
            wire.cut()

    async def _requests(self, wire: _Wire, source: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if wire.kind == "commands" and b"SUBSCRIBE" in data:
                    wire.kind = "publications"
                    self.listeners += 1
                await self._flows[wire.kind].wait()
                self._count(wire, data)
                wire.server.write(data)
                await wire.server.drain()
        wire.cut()

    async def _replies(self, wire: _Wire, source: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._flows[wire.kind].wait()
                if self.answers_to_pass is not None:
                    if self.answers_to_pass == 0:
                        continue
                    self.answers_to_pass -= 1
                if wire.loses_reply:
                    self.lost_replies += 1
                    break
                wire.client.write(data)
                await wire.client.drain()
        wire.cut()

    def _count(self, wire: _Wire, data: bytes) -> None:
        if self.lose_every is None:
            return
        for script in self._scripts:
            if script in data:
                self._scripts[script] += 1
                if self._scripts[script] % self.lose_every == 0:
                    wire.loses_reply = True
