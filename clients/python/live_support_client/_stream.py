"""Stream: messages as an async iterator over a connection that is made again when it drops.

One task reads. Whatever it reads goes to `_take`, which the subclasses define, and from there to the caller.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from websockets.exceptions import ConnectionClosed

from live_support_client._checks import checked_token
from live_support_client._errors import ChatGone, ConnectionLost, LiveSupportError, NotAuthenticated
from live_support_client._log import log
from live_support_client._options import ConnectionState, Options, Token
from live_support_client._reconnect import CONNECT_ERRORS, DONE, Delays, NoToken, describe, fatal, first_failure
from live_support_client._socket import Socket

SocketT = TypeVar("SocketT", bound=Socket[Any, Any])
Incoming = TypeVar("Incoming")
Item = TypeVar("Item")

# A connection that stood so long was not refused for its token: the token has ended since.
_TOKEN_TAKEN_SECONDS = 1.0


class Stream(Generic[SocketT, Incoming, Item]):
    """Base of `Chat` and `JoinsClient`.

    Args:
        options: how to connect.
        token: shown when connecting.
        on_state: is called with every new `state`.
    """

    def __init__(
        self, options: Options, token: Token | None, on_state: Callable[[ConnectionState], object] | None
    ) -> None:
        self._options = options
        self._token = token if token is None or callable(token) else checked_token(token)
        self._on_state = on_state
        self._state: ConnectionState = "connecting"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entered = False
        self._delays = Delays(options.backoff)
        self._socket: SocketT | None = None
        self._connected_at = 0.0
        self._renewing = False
        self._reader: asyncio.Task[None] | None = None
        self._items: deque[Item] = deque()
        self._waiters = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
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

    # The caller's side.

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
            socket = await self._connect()
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
        self._room.set()
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

    # The reader's side.

    def _push(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()

    def _finish(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            if self._entered and not _is_clean(error):
                log.warning("%s: ended by %s", type(self).__name__, describe(error))
            self._ended(error)
            self._change("closed")
        self._arrived.set()
        self._connected.set()

    def _use(self, socket: SocketT) -> None:
        self._socket = socket
        self._connected_at = asyncio.get_running_loop().time()
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
                if asyncio.get_running_loop().time() - self._connected_at > _TOKEN_TAKEN_SECONDS:
                    self._renewing = False
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
            if (reason := fatal(error)) is not None and not self._may_renew(reason):
                raise reason from error
            self._change("reconnecting")
            seconds = self._delays.next(error)
            log.info("%s: no connection (%s), next try in %.1f s", type(self).__name__, describe(error), seconds)
            await asyncio.sleep(seconds)
            try:
                return await self._connect()
            except CONNECT_ERRORS as failure:
                error = failure

    def _may_renew(self, reason: Exception) -> bool:
        """Whether the token has ended, and there may be another one. A new token that is refused is not tried again."""
        if not isinstance(reason, NotAuthenticated) or not callable(self._token) or self._renewing:
            return False
        self._renewing = True
        return True

    async def _connect(self) -> SocketT:
        token = self._token
        if callable(token):
            try:
                async with asyncio.timeout(self._options.connect_seconds):
                    given = token()
                    token = await given if inspect.isawaitable(given) else given
            except Exception as error:
                raise NoToken from error
            token = checked_token(token)
        headers = dict(self._options.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self._open(headers)


def _is_clean(end: Exception) -> bool:
    return isinstance(end, ChatGone) or (isinstance(end, ConnectionLost) and end.code in DONE)
