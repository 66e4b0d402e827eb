"""Both sides of the chats that the load generator opens: their connections, what they send, and what came.

They are picows connections on uvloop, the cheapest that there are for Python, so that the server tires first.
"""

import asyncio
import secrets
import time

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from chatbench.verifier import TOKEN_LENGTH, compare, make_token

JOIN_SECONDS = 20

CONTENT = b'"content":'
QUOTE = ord('"')
FILLER = "Hello, how may I help you with your order today?"

now_ns = time.monotonic_ns


class GeneratorError(Exception):
    """Raised when the load cannot go on; the text is the one line that is shown."""


class Participant(WSListener):
    """One side of a chat: a connection and what came on it.

    Args:
        chat: the chat's number.
        sender: `User` or `Support`.
    """

    def __init__(self, chat: int, sender: str) -> None:
        super().__init__()
        self.chat, self.sender = chat, sender
        self.transport: WSTransport | None = None
        self.got: list[bytes] = []
        """Tokens, as they came."""
        self.came: list[int] = []
        """When, while the open loop runs."""
        self.due: dict[bytes, int] = {}
        """Tokens of what was sent, and when it was to be sent."""
        self.joined: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.errors: list[str] = []
        self.saturating = False
        self.timing = False
        self._mark = sender[0].encode()
        self._count = 0
        self._before = self._after = b""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the connection."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame."""
        data = frame.get_payload_as_bytes()
        place = data.find(CONTENT)
        if place < 0:
            self._other(transport, frame, data)
            return
        # Python's json writes a space after the colon.
        place += len(CONTENT) + (1 if data[place + len(CONTENT)] == QUOTE else 2)
        token = data[place : place + TOKEN_LENGTH]
        self.got.append(token)
        if self.timing:
            self.came.append(now_ns())
        if self.saturating and token[6:7] == self._mark:
            self.send(0)

    def _other(self, transport: WSTransport, frame: WSFrame, data: bytes) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.errors.append(f"closed with {int.from_bytes(data[:2], 'big')}")
            transport.disconnect()
        elif data.startswith(b'{"type":"Joined"') or b'"Joined"' in data[:32]:
            if f'"{self.sender}"'.encode() in data and not self.joined.done():
                self.joined.set_result(data)
        elif b'"Error"' in data[:32]:
            self.errors.append(data.decode("utf-8", "replace"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows gives it
        """Note that the connection is gone."""
        self.transport = None
        if not self.joined.done():
            self.joined.set_exception(
                GeneratorError(f"{self.sender}: refused: {'; '.join(self.errors) or 'no reason'}")
            )

    async def join(self, ids: dict[str, str]) -> str:
        """Join the chat, and return the `supportId` that the answer holds, if any."""
        name = {"supportUserName": "Andre"} if self.sender == "Support" else {}
        self._send({"type": "Join", "args": {**ids, "username": "Nika", **name, "from": self.sender}})
        async with asyncio.timeout(JOIN_SECONDS):
            args = msgspec.json.decode(await self.joined)["args"]
        return str(args.get("supportId", ""))

    def prepare(self, user_id: str, support_id: str) -> None:
        """Encode the frame of a message once, but for its token."""
        args = {"userId": user_id, "supportId": support_id, "content": "\0" + FILLER, "from": self.sender}
        frame = msgspec.json.encode({"type": "ChatMessage", "args": args})
        self._before, _, self._after = frame.partition(rb"\u0000")

    def send(self, due_ns: int) -> None:
        """Send the next message."""
        if self.transport is None:
            return
        self._count += 1
        token = make_token(self.chat, self.sender[0], self._count)
        self.due[token] = due_ns
        self.transport.send(WSMsgType.TEXT, self._before + token + self._after)

    def _send(self, message: object) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))


class Chat:
    """Both sides of a chat."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.user, self.support = Participant(number, "User"), Participant(number, "Support")

    @property
    def both(self) -> tuple[Participant, Participant]:
        """The User and the Support."""
        return self.user, self.support

    async def open(self, port: int, registration: "Registration | None") -> None:
        """Register, connect and join both."""
        user_id, chat_id = (
            await registration.register() if registration else (secrets.token_hex(16), f"{self.number:032x}")
        )
        ids, support_id = {"userId": user_id}, ""
        for participant in self.both:
            await ws_connect(
                lambda participant=participant: participant,
                f"ws://127.0.0.1:{port}/chat/{chat_id}",
                websocket_handshake_timeout=JOIN_SECONDS,
            )
            support_id = await participant.join(ids)
        for participant in self.both:
            participant.prepare(user_id, support_id)

    def check(self) -> list[str]:
        """Compare what was sent with what came, and forget both."""
        sent, found = [*self.user.due, *self.support.due], []
        got = {participant.sender: participant.got for participant in self.both}
        for participant in self.both:
            # First, as they may be the cause of what is missing.
            found += [f"chat {self.number}: {participant.sender}: {error}" for error in participant.errors[:2]]
        found += compare(self.number, sent, got)
        for participant in self.both:
            participant.got.clear()
            participant.came.clear()
            participant.due.clear()
            participant.errors.clear()
        return found


class Registration:
    """Registers users over one HTTP connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._lock = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> "Registration":
        """Connect to the server."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def register(self) -> tuple[str, str]:
        """Return a new user's id, and the chat's."""
        async with self._lock:
            self._writer.write(b"GET /user/join/Nika HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = msgspec.json.decode(await self._reader.readexactly(length))
        if b" 200 " not in head[:16]:
            raise GeneratorError(f"registration: {body}")
        return body["userId"], body["chatId"]

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
