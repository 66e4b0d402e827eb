"""Reader: the task that reads a connection, and makes it again when it drops."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from websockets.exceptions import ConnectionClosed

from live_support_client._buffer import Buffer
from live_support_client._credentials import Credentials
from live_support_client._errors import ChatGone, ConnectionLost
from live_support_client._log import log
from live_support_client._options import ConnectionState, Options, Token
from live_support_client._reconnect import CONNECT_ERRORS, DONE, Delays, describe, fatal
from live_support_client._socket import Socket

SocketT = TypeVar("SocketT", bound=Socket[Any, Any])
Incoming = TypeVar("Incoming")
Item = TypeVar("Item")


class Reader(Generic[SocketT, Incoming, Item]):
    """The reading side of a `Stream`, which adds the caller's.

    Args:
        options: how to connect.
        token: shown when connecting.
        on_state: is called with every new `state`.
    """

    def __init__(
        self, options: Options, token: Token | None, on_state: Callable[[ConnectionState], object] | None
    ) -> None:
        self._options = options
        self._credentials = Credentials(token, options)
        self._on_state = on_state
        self._state: ConnectionState = "connecting"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entered = False
        self._delays = Delays(options.backoff)
        self._socket: SocketT | None = None
        self._reader: asyncio.Task[None] | None = None
        self._buffer: Buffer[Item] = Buffer()
        self._waiters = 0
        self._connected = asyncio.Event()
        self._end: Exception | None = None

    # For the subclasses to define.

    async def _open(self, headers: Mapping[str, str]) -> SocketT:
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
        return self._waiters > 0

    # Reading.

    def _push(self, item: Item) -> None:
        self._buffer.push(item)

    def _finish(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            if self._entered and not is_clean(error):
                log.warning("%s: ended by %s", type(self).__name__, describe(error))
            self._ended(error)
            self._change("closed")
        self._buffer.wake_caller()
        self._connected.set()

    def _use(self, socket: SocketT) -> None:
        self._socket = socket
        self._credentials.connected()
        self._delays.connected()
        self._connected.set()
        self._change("connected")

    def _change(self, state: ConnectionState) -> None:
        if self._state in (state, "closed"):
            return
        self._state = state
        log.debug("%s: %s", type(self).__name__, state)
        if self._on_state is not None:
            try:
                self._on_state(state)
            except Exception:
                log.exception("on_state has failed")

    async def _run(self, socket: SocketT) -> None:
        try:
            while True:
                error = await self._read(socket)
                self._credentials.lost()
                self._socket = None
                self._lost()
                socket = await self._open_again(error)
                self._use(socket)
        except Exception as error:
            # Ours, or a mistake in this package: either way the caller must hear of it rather than wait.
            self._finish(error)
            if self._socket is not None:
                self._socket.abort()
        finally:
            # Somebody has cancelled all tasks.
            self._finish(ConnectionLost("The task that reads was cancelled."))

    async def _read(self, socket: SocketT) -> Exception:
        """Read until the connection ends, and say how."""
        buffer, bound = self._buffer, self._options.buffer
        try:
            while True:
                while len(buffer) >= bound and not self._unbounded:
                    await buffer.room()
                self._take(await socket.receive())
        except ConnectionClosed as error:
            return error

    async def _open_again(self, error: Exception) -> SocketT:
        while True:
            if (reason := fatal(error)) is not None and not self._credentials.may_renew(reason):
                raise reason from error
            self._change("reconnecting")
            seconds = self._delays.next(error)
            log.info("%s: no connection (%s), next try in %.1f s", type(self).__name__, describe(error), seconds)
            await asyncio.sleep(seconds)
            try:
                return await self._open(await self._credentials.headers())
            except CONNECT_ERRORS as failure:
                error = failure


def is_clean(end: Exception) -> bool:
    """Whether an end is one that the caller expects, so that the iteration just stops."""
    return isinstance(end, ChatGone) or (isinstance(end, ConnectionLost) and end.code in DONE)
