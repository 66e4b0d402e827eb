"""A TCP proxy in front of Redis, for tests that break the network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit

import hiredis

from live_support.redis.connection import pack

Words = list[bytes]
"""A command: its name and what belongs to it."""


class Proxy:
    """Passes bytes on, unless a test says otherwise.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._is_redis = True
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._swallowed: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._keeping: set[asyncio.StreamWriter] = set()
        self._kept: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.rewrite: Callable[[Words], Words] | None = None
        """Sees each command that is sent, and says what the server gets instead."""
        self.replies_to_lose = 0
        """So many of the server's next answers cut their connection instead of arriving."""
        self.chunks_sent = 0
        """How often something came for the server."""
        self.connections = 0
        """How often somebody connected."""
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def to(cls, redis_url: str) -> AsyncIterator[Self]:
        """Listen until the block ends; what connects to `url` reaches the server."""
        parts = urlsplit(redis_url)
        proxy = cls(parts.hostname or "localhost", parts.port or 6379)
        proxy._is_redis = parts.scheme == "redis"
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.url = parts._replace(netloc=f"127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection that stands."""
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        """Cut every connection, and each new one at once."""
        self._refusing = True
        self.cut()

    def freeze(self) -> None:
        """Become a black hole: connections stand and can be made, but nothing arrives any more."""
        self._open.clear()

    def swallow(self) -> None:
        """Let the connections that stand fall silent for ever; new ones work."""
        self._swallowed |= self._writers

    def keep_requests(self) -> None:
        """Keep what comes for the server over the connections that stand; what it sends still arrives."""
        self._keeping |= self._writers

    def deliver_requests(self) -> None:
        """Pass on what was kept, even if its sender has closed the connection since."""
        self._keeping.clear()
        for sink, data in self._kept:
            sink.write(data)
        self._kept = []

    def heal(self) -> None:
        """Pass bytes on again."""
        self._refusing = False
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        self._writers.add(server_writer)
        try:
            await asyncio.gather(self._requests(reader, server_writer), self._replies(server_reader, writer))
        finally:
            self._tasks.discard(task)
            for each in (writer, server_writer):
                self._writers.discard(each)
                self._swallowed.discard(each)
                each.transport.abort()

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader(notEnoughData=None)
        with suppress(OSError, RuntimeError):  # uvloop raises the second for a connection that is aborted
            while data := await source.read(65536):
                await self._open.wait()
                if sink in self._swallowed:
                    continue
                self.chunks_sent += 1
                whole = b"" if self._is_redis else data
                if self._is_redis:
                    commands.feed(data)
                while self._is_redis and (words := commands.gets()) is not None:
                    whole += pack(*(self.rewrite(words) if self.rewrite else words))
                if sink in self._keeping:
                    self._kept.append((sink, whole))
                else:
                    sink.write(whole)
                    await sink.drain()
        if sink not in self._keeping:
            sink.transport.abort()

    async def _replies(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # uvloop raises the second for a connection that is aborted
            while data := await source.read(65536):
                await self._open.wait()
                if sink in self._swallowed or sink.transport.is_closing():
                    continue  # or its client has left, and something kept is still to come
                if self.replies_to_lose:
                    self.replies_to_lose -= 1
                    break
                sink.write(data)
                await sink.drain()
        sink.transport.abort()


def answered_with(error: str) -> Words:
    """A command that the server answers with this error, wherever it stands among others."""
    return [b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", error.encode()]
