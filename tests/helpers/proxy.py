"""The network in front of a service or of Redis, with faults."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit

import hiredis

from live_support.redis.connection import pack

Words = list[bytes]
"""A command of Redis: its name and what belongs to it."""

# A script names all its keys, so these tell the scripts of a chat and of the queue apart from everything else.
CHAT_SCRIPT = b":connections"
QUEUE_SCRIPT = b"{joins}:waiting"


class _Wire:
    """One connection through a proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.is_silent = False
        self.keeps = False
        self.kept: list[bytes] = []
        self.delivered = asyncio.Event()
        """What was kept has been passed on."""
        self.loses_reply = False
        self.commands = hiredis.Reader(notEnoughData=None)

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Passes bytes on, unless a fault says otherwise.

    Args:
        host: of what is behind it.
        port: of what is behind it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._flow = asyncio.Event()
        self._accepts = asyncio.Event()
        self._wires: set[_Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.replies_to_pass: int | None = None
        """Only so many more answers arrive, though the connections stand; None for all."""
        self.replies_to_lose = 0
        """So many of the next answers cut their connection instead of arriving."""
        self.lost_replies = 0
        self.chunks_sent = 0
        """How often something came for what is behind it, whether or not it got there."""
        self.connections = 0
        """How often somebody connected."""
        self.url = ""
        self.heal()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Self]:
        """Listen until the block ends; what connects to the proxy's `url` reaches what is at this one."""
        parts = urlsplit(url)
        proxy = cls(parts.hostname or "localhost", parts.port or 6379)
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
        for wire in tuple(self._wires):
            wire.cut()

    def refuse(self) -> None:
        """Cut every connection, and each new one at once, until the healing."""
        self._accepts.clear()
        self.cut()

    def fall_silent(self) -> None:
        """Leave the connections that stand half open: nothing arrives over them, ever. New ones work."""
        for wire in self._wires:
            wire.is_silent = True

    def freeze(self) -> None:
        """Become a black hole: connections stand and can be made, but nothing arrives until the healing.

        What was sent meanwhile arrives then, as TCP's repetitions would, even if its sender has given up.
        """
        self._flow.clear()

    def keep_requests(self) -> None:
        """Pass no more requests on over the connections that stand; answers still arrive. New ones work."""
        for wire in self._wires:
            wire.keeps = True
            wire.delivered.clear()

    def deliver_requests(self) -> None:
        """Pass on what was kept, whether or not its sender is still there."""
        for wire in self._wires:
            wire.keeps = False
            wire.server.write(b"".join(wire.kept))
            wire.kept = []
            wire.delivered.set()

    def heal(self) -> None:
        """Work again."""
        self._accepts.set()
        self._flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self._accepts.is_set():
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, RuntimeError):  # the last one by uvloop, when reset while connecting
            writer.transport.abort()
            self._tasks.discard(task)
            return
        wire = _Wire(writer, server_writer)
        self._wires.add(wire)
        if not self._accepts.is_set():
            wire.cut()
        try:
            await asyncio.gather(self._requests(wire, reader), self._replies(wire, server_reader))
        finally:
            self._wires.discard(wire)
            self._tasks.discard(task)
            wire.cut()

    async def _requests(self, wire: _Wire, source: asyncio.StreamReader) -> None:
        with suppress(OSError, RuntimeError):  # uvloop raises the second for a connection that is aborted
            while data := await source.read(65536):
                self.chunks_sent += 1
                await self._flow.wait()
                if wire.is_silent:
                    continue
                passed = self._passed(wire, data)
                if wire.keeps:
                    wire.kept.append(passed)
                    continue
                wire.server.write(passed)
                await wire.server.drain()
        if wire.keeps:
            await wire.delivered.wait()  # its sender has left, and what it sent is still on its way
        wire.cut()

    async def _replies(self, wire: _Wire, source: asyncio.StreamReader) -> None:
        with suppress(OSError, RuntimeError):
            while data := await source.read(65536):
                await self._flow.wait()
                if wire.is_silent or wire.client.transport.is_closing():
                    continue  # or its client has left, and something kept is still to come
                if self.replies_to_pass is not None:
                    if self.replies_to_pass == 0:
                        continue
                    self.replies_to_pass -= 1
                if wire.loses_reply or self.replies_to_lose:
                    self.replies_to_lose -= not wire.loses_reply
                    self.lost_replies += 1
                    break
                wire.client.write(data)
                await wire.client.drain()
        if not wire.keeps:
            wire.cut()

    def _passed(self, wire: _Wire, data: bytes) -> bytes:
        """What is to arrive of a request."""
        del wire
        return data


class RedisProxy(Proxy):
    """Knows the commands that pass through, so that some can fail."""

    def __init__(self, host: str, port: int) -> None:
        self._chat_scripts = 0
        self._scripts = {CHAT_SCRIPT: 0, QUEUE_SCRIPT: 0}
        self.rewrite: Callable[[Words], Words] | None = None
        """Sees each command that is sent, and says what Redis gets instead."""
        self.lose_every: int | None = None
        """Of every so many scripts of a chat, and of the queue, the answer does not arrive: the connection is cut."""
        self.refuse_every: int | None = None
        """Of every so many scripts of a chat one is answered with an error, as if Redis were not well for a moment."""
        self.errors: Sequence[str] = ()
        """Those errors, in turn."""
        self.refused = 0
        super().__init__(host, port)

    def heal(self) -> None:
        """Work again."""
        self.lose_every = self.refuse_every = None
        super().heal()

    def _passed(self, wire: _Wire, data: bytes) -> bytes:
        self._lose_some(wire, data)
        wire.commands.feed(data)
        whole = b""
        while (words := wire.commands.gets()) is not None:
            words = self._refused(words)
            whole += pack(*(self.rewrite(words) if self.rewrite else words))
        return whole

    def _refused(self, words: Words) -> Words:
        if self.refuse_every is None or words[0] != b"EVALSHA" or not any(CHAT_SCRIPT in word for word in words):
            return words
        self._chat_scripts += 1
        if self._chat_scripts % self.refuse_every:
            return words
        self.refused += 1
        return answered_with(self.errors[self.refused % len(self.errors)])

    def _lose_some(self, wire: _Wire, data: bytes) -> None:
        if self.lose_every is None:
            return
        for script in self._scripts:
            if script in data:
                self._scripts[script] += 1
                if self._scripts[script] % self.lose_every == 0:
                    wire.loses_reply = True


def answered_with(error: str) -> Words:
    """A command that Redis answers with this error, wherever it stands among others."""
    return [b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", error.encode()]
