"""Socket: one WebSocket connection with typed messages. Knows nothing of joining, nor of connecting again."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from live_support_client._errors import UnexpectedFrame
from live_support_client._log import websocket_log
from live_support_client._options import Options

Outgoing = TypeVar("Outgoing")
Incoming = TypeVar("Incoming")

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode
_CLOSE_SECONDS = 2.0
# A text that is no UTF-8, and deep nesting, raise errors of other kinds.
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Decoder(Generic[Incoming]):
    """Decodes the messages that one key tells apart."""

    def __init__(self, union: Any, *, tag: str, known: Sequence[str]) -> None:
        self.decode = msgspec.json.Decoder[Incoming](union).decode
        self.tag = tag
        self.known = frozenset(known)


class Socket(Generic[Outgoing, Incoming]):
    """One connection. The generated subclasses say what goes over it."""

    decoders: ClassVar[tuple[Decoder[Any], ...]]

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._recv = connection.recv
        self._decode = self.decoders[0].decode

    @classmethod
    async def connect(cls, url: str, options: Options, headers: Mapping[str, str]) -> Self:
        """Connect, showing these headers and no others.

        Raises:
            OSError, TimeoutError, websockets.InvalidHandshake: it did not succeed.
        """
        more: dict[str, Any] = {"ssl": options.ssl} if options.ssl and url.startswith("wss") else {}
        connection = await connect(
            url,
            additional_headers=headers,
            close_timeout=_CLOSE_SECONDS,
            # Chat messages are short: compressing each would cost memory and time, and save little.
            compression=None,
            logger=websocket_log,
            # The server bounds a history; what it sends is wanted whole.
            max_size=None,
            open_timeout=options.connect_seconds,
            ping_interval=options.ping_seconds,
            ping_timeout=options.ping_seconds,
            proxy=True if options.trust_env else None,
            **more,
        )
        return cls(connection)

    @property
    def is_open(self) -> bool:
        """Whether a frame that is sent now, before anything is awaited, is written."""
        return self._connection.state is State.OPEN

    async def send(self, message: Outgoing) -> None:
        """Send a message: a text as it is, anything else as JSON.

        Raises:
            websockets.ConnectionClosed: the connection is gone.
        """
        await self.send_frame(self.frame(message))

    @staticmethod
    def frame(message: Outgoing) -> bytes:
        """Make the frame of a message."""
        return message.encode() if isinstance(message, str) else _encode(message)

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            websockets.ConnectionClosed: the connection is gone.
        """
        await self._connection.send(frame, text=True)

    async def receive(self) -> Incoming:
        """Wait for the next message. Types that only a newer server knows are skipped.

        Raises:
            websockets.ConnectionClosed: the connection is gone.
            UnexpectedFrame: it is none of the documented messages.
        """
        while True:
            frame = await self._recv(decode=False)
            try:
                message: Incoming = self._decode(frame)
            except _DECODE_ERRORS:
                other = self._decode_otherwise(frame)
                if other is None:
                    continue
                return other
            return message

    def _decode_otherwise(self, frame: bytes) -> Incoming | None:
        try:
            keys = _decode_any(frame)
            for decoder in self.decoders:
                tag = keys.get(decoder.tag)
                if isinstance(tag, str) and tag in decoder.known:
                    message: Incoming = decoder.decode(frame)
                    return message
        except _DECODE_ERRORS as error:
            raise UnexpectedFrame(f"The server sent what its documents do not describe: {error}.") from None
        return None

    async def close(self) -> None:
        """Close, and wait until the server has agreed."""
        await self._connection.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.transport.abort()
