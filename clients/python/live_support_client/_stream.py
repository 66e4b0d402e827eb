"""Stream: messages as an async iterator over a connection that is made again when it drops.

One task reads. Whatever it reads goes to `_take`, which the subclasses define, and from there to the caller.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from live_support_client._errors import ConnectionLost, LiveSupportError
from live_support_client._options import ConnectionState
from live_support_client._reader import Incoming, Item, Reader, SocketT, is_clean
from live_support_client._reconnect import CONNECT_ERRORS, NoToken, first_failure


class Stream(Reader[SocketT, Incoming, Item]):
    """Base of `Chat` and `JoinsClient`: what their callers see. The arguments are those of `Reader`."""

    @property
    def state(self) -> ConnectionState:
        """What the connection is about."""
        return self._state

    async def __aenter__(self) -> Self:
        if self._entered or self._end is not None:
            raise RuntimeError("It can be entered only once.")
        self._entered = True
        self._loop = asyncio.get_running_loop()
        try:
            socket = await self._open(await self._credentials.headers())
        except NoToken as error:
            self._entered = False  # so that it can be tried again
            raise error.__cause__ or error from None
        except CONNECT_ERRORS as error:
            self._entered = False
            if isinstance(error, LiveSupportError):
                raise
            raise first_failure(error) from error
        except BaseException:
            self._entered = False
            raise
        try:
            self._check_open()
        except BaseException:  # closed meanwhile
            socket.abort()
            raise
        self._use(socket)
        self._reader = asyncio.create_task(self._run(socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, and end the iteration."""
        if self._loop is not None:
            self._check_loop()
        self._finish(ConnectionLost("It was closed on this side.", code=1000))
        reader = self._reader
        try:
            if reader is not None and reader is not asyncio.current_task():
                reader.cancel()
                await asyncio.wait([reader])
            if self._socket is not None:
                await self._socket.close()
        except BaseException:
            if self._socket is not None:
                self._socket.abort()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self._check_entered()
        while not self._buffer:
            if self._end is not None:
                if is_clean(self._end):
                    raise StopAsyncIteration
                raise self._end
            await self._buffer.arrival()
        return self._buffer.pop()

    def _check_entered(self) -> None:
        """Refuse what would wait for a connection that nobody makes.

        Raises:
            RuntimeError: it was not entered, or belongs to another event loop.
        """
        if not self._entered:
            raise RuntimeError("There is no connection: use it within `async with`.")
        self._check_loop()

    def _check_open(self) -> None:
        """Raise what ended it, if something has."""
        if self._end is not None:
            raise self._end

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError("It belongs to the event loop in which it was entered.")

    @contextmanager
    def _reading_on(self) -> Iterator[None]:
        """Let the reader go on whatever waits for the caller, who now waits for the reader."""
        self._waiters += 1
        self._buffer.wake_reader()
        try:
            yield
        finally:
            self._waiters -= 1

    async def _ready(self) -> SocketT:
        """Wait for a connection on which a frame can be written at once.

        Raises:
            LiveSupportError: there will be none.
        """
        while True:
            self._check_open()
            if self._socket is not None and self._socket.is_open:
                return self._socket
            # The reader may not have noticed yet.
            self._connected.clear()
            await self._connected.wait()
