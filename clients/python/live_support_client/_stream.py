"""Stream: messages as an async iterator over a connection that is made again when it drops.

One task reads. Whatever it reads goes to `_take`, which the subclasses define, and from there to the caller.
"""

import asyncio
from collections import deque
from typing import Any, Generic, Self, TypeVar

from websockets.exceptions import ConnectionClosed

from live_support_client._errors import ChatGone, ConnectionLost, LiveSupportError
from live_support_client._options import Options
from live_support_client._reconnect import CONNECT_ERRORS, DONE, Delays, fatal
from live_support_client._socket import Socket

SocketT = TypeVar("SocketT", bound=Socket[Any, Any])
Incoming = TypeVar("Incoming")
Item = TypeVar("Item")


class Stream(Generic[SocketT, Incoming, Item]):
    """Base of `Chat` and `JoinsClient`.

    Args:
        options: how to connect.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._delays = Delays(options.backoff)
        self._socket: SocketT | None = None
        self._reader: asyncio.Task[None] | None = None
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._connected = asyncio.Event()
        self._end: Exception | None = None

    # For the subclasses to define.

    async def _open(self) -> SocketT:
        """Connect, and do what makes the connection useful."""
        raise NotImplementedError

    def _take(self, message: Incoming) -> None:
        """Note what a message tells, and pass it on with `_push` if the caller is to see it."""
        raise NotImplementedError

    def _lost(self) -> None:
        """Note that the connection is gone, and another one will be made."""

    def _ended(self, error: Exception) -> None:
        """Note that there will be no other connection."""

    @property
    def _unbounded(self) -> bool:
        """Whether reading must go on however much waits for the caller."""
        return False

    # The caller's side.

    async def __aenter__(self) -> Self:
        if self._reader is not None:
            raise RuntimeError("It can be entered only once.")
        try:
            socket = await self._open()
        except CONNECT_ERRORS as error:
            if isinstance(error, LiveSupportError):
                raise
            raise fatal(error) or ConnectionLost(f"No connection: {str(error) or type(error).__name__}") from error
        self._use(socket)
        self._reader = asyncio.create_task(self._run(socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, and end the iteration."""
        self._finish(ConnectionLost("It was closed on this side.", code=1000))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._socket is not None:
            await self._socket.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._end is not None:
                if _is_clean(self._end):
                    raise StopAsyncIteration
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        self._room.set()
        return item

    async def _ready(self) -> SocketT:
        """Wait for a connection on which a frame can be written at once.

        Raises:
            LiveSupportError: there will be none.
        """
        while True:
            if self._end is not None:
                raise self._end
            if self._socket is not None and self._socket.is_open:
                return self._socket
            # The reader may not have noticed yet.
            self._connected.clear()
            await self._connected.wait()

    # The reader's side.

    def _push(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()

    def _finish(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._ended(error)
        self._arrived.set()
        self._connected.set()

    def _use(self, socket: SocketT) -> None:
        self._socket = socket
        self._delays.connected()
        self._connected.set()

    async def _run(self, socket: SocketT) -> None:
        try:
            while True:
                error = await self._read(socket)
                self._socket = None
                self._lost()
                socket = await self._open_again(error)
                self._use(socket)
        except Exception as error:
            # Ours, or a mistake in this package: either way the caller must hear of it rather than wait.
            self._finish(error)

    async def _read(self, socket: SocketT) -> Exception:
        """Read until the connection ends, and say how."""
        items, bound = self._items, self._options.buffer
        try:
            while True:
                if len(items) >= bound:
                    await self._wait_for_room()
                self._take(await socket.receive())
        except ConnectionClosed as error:
            return error

    async def _wait_for_room(self) -> None:
        while len(self._items) >= self._options.buffer and not self._unbounded:
            self._room.clear()
            await self._room.wait()

    async def _open_again(self, error: Exception) -> SocketT:
        while True:
            if (reason := fatal(error)) is not None:
                raise reason from error
            await asyncio.sleep(self._delays.next(error))
            try:
                return await self._open()
            except CONNECT_ERRORS as failure:
                error = failure


def _is_clean(end: Exception) -> bool:
    return isinstance(end, ChatGone) or (isinstance(end, ConnectionLost) and end.code in DONE)
