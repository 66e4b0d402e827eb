"""Chat: one participant in one chat."""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET
from websockets.exceptions import ConnectionClosed

from live_support_client._checks import FRAME_BYTES_MOST, checked_content, too_large
from live_support_client._errors import ChatGone, LiveSupportError, NotAcknowledged, Refused
from live_support_client._models import (
    ChatExpired,
    ChatHistory,
    ChatMessage,
    Error,
    Join,
    Joined,
    NewChatMessage,
    NewSupportMessage,
    NewUserMessage,
    StoredMessage,
    SupportJoin,
    SupportJoined,
    UserJoin,
    UserJoined,
)
from live_support_client._options import ConnectionState, Options, Token
from live_support_client._sent import Sent, unanswered
from live_support_client._sockets import ChatServerMessage, ChatSocket
from live_support_client._stream import Stream

_LINE_END = re.compile(r"\r\n?")
_NOT_STORED = "The connection was lost, and the history does not have the message."


class Chat(Stream[ChatSocket, ChatServerMessage, ChatServerMessage]):
    """A participant's side of a chat: `send` to speak, `async for` to listen.

    After a drop it joins again by itself. What it missed comes as `ChatMessage`s, in order and once; only the history
    that the very first join brings comes as `ChatHistory`. When the chat expires, the iteration yields `ChatExpired`
    and stops; when it cannot go on for another reason, the iteration raises it.

    Args:
        url: WebSocket URL of the ChatServer.
        chat_id: the chat.
        me: the args of the first `Join`.
        options: how to connect.
        token: an agent's.
        on_state: is called with every new `state`.
    """

    def __init__(
        self,
        url: str,
        chat_id: str,
        me: UserJoin | SupportJoin,
        options: Options,
        *,
        token: Token | None = None,
        on_state: Callable[[ConnectionState], object] | None = None,
    ) -> None:
        super().__init__(options, token, on_state)
        self._url = url
        self._me = me
        self._seen: datetime | None = None
        self._joined: list[UserJoined | SupportJoined] = []
        self._has_joined = False
        self._joined_again = False
        self._turn = asyncio.Lock()
        self._sent: Sent | None = None
        self._answered = asyncio.Event()
        self._in_doubt = False
        self._probing = False
        self.chat_id = chat_id
        self.sender: Literal["User", "Support"] = "User" if isinstance(me, UserJoin) else "Support"
        """Whose side this is, as messages name it."""
        self.support_id: str | None = me.support_id or None
        """The agent's id, once there is an agent."""
        self.support_name: str | None = None
        """The agent's name, once an agent has joined."""

    @property
    def user_id(self) -> str:
        """The user's id."""
        return self._me.user_id

    async def send(self, content: str) -> StoredMessage:
        """Say something; return the message as it is stored, once it is. It comes out of the iteration as well.

        Several tasks may send at the same time; the messages go out one by one, each after the answer to the one
        before, so that an answer is never taken for another's. A cancelled `send` may still be stored.

        Raises:
            Refused: the server did not take it: `InvalidInput`, `TooLarge`, `RateLimited`, `ChatFull`, `Unavailable`.
            NotAcknowledged: the connection was lost, and the history does not have it.
            LiveSupportError: there is no connection any more.
            TypeError: it is no text.
            RuntimeError: the chat was not entered, or belongs to another event loop.
        """
        self._check_entered()
        content = unicodedata.normalize("NFC", _LINE_END.sub("\n", checked_content(content)))
        with self._reading_on():
            async with self._turn:
                while self._sent is not None:
                    # The answer to a `send` that was cancelled is still to come.
                    self._answered.clear()
                    await self._answered.wait()
                socket = await self._ready()
                frame = socket.frame(_message(self._me, self.support_id, content))
                if len(frame) > FRAME_BYTES_MOST:
                    raise too_large()
                sent = self._sent = Sent(content)
                sent.set_timer(self._options.answer_seconds, self._not_answered)
                # If this fails the reader learns it too, and settles what has become of the message.
                try:
                    with suppress(ConnectionClosed):
                        await socket.send_frame(frame)
                    return await sent.answer()
                except BaseException:
                    sent.abandon()
                    raise

    def _not_answered(self, sent: Sent) -> None:
        """Take a server that does not answer for gone: the next connection tells what has become of the message."""
        if sent is not self._sent:
            return
        sent.set_timer(self._options.answer_seconds, self._not_answered)
        if self._socket is None:
            return  # the next connection is still to be made
        self._socket.abort()
        if sent.late:
            self._settle(NotAcknowledged("The server does not answer."))
        sent.late = True

    # Joining.

    async def _open(self, headers: Mapping[str, str]) -> ChatSocket:
        url = f"{self._url}{ChatSocket.address(self.chat_id)}"
        socket = await ChatSocket.connect(url, self._options, headers)
        self._joined_again = self._has_joined
        try:
            async with asyncio.timeout(self._options.answer_seconds):
                join = Join(args=msgspec.structs.replace(self._me, support_id=self.support_id or UNSET))
                await socket.send(join)
                # The server answers in order, and a second Join with an error: once that is here, the history is too,
                # or there is none.
                self._probing = self._in_doubt
                if self._probing:
                    await socket.send(join)
                answer = await socket.receive()
            match answer:
                case Error(args=refusal):
                    raise Refused.of(refusal)
                case ChatExpired() as expired:
                    if self._has_joined:
                        self._push(expired)
                    raise ChatGone("The chat is unknown or expired.")
                case _:
                    self._take(answer)
        except BaseException:
            socket.abort()
            raise
        self._has_joined = True
        return socket

    # Reading.

    @property
    def _unbounded(self) -> bool:
        # The answer to what was sent is behind the messages that nobody has taken yet. Each chat is bounded by the
        # server, so what piles up meanwhile is too. After a cancelled `send` the answer is still to come.
        return self._sent is not None or super()._unbounded

    def _take(self, message: ChatServerMessage) -> None:
        match message:
            case ChatMessage():
                self._take_stored(message)
            case ChatHistory(args=history):
                self._take_history(message, history.messages)
            case Joined(args=participant):
                self._take_joined(message, participant)
            case Error(args=refusal) if self._probing:
                self._probing = False
                if self._in_doubt:
                    self._settle(NotAcknowledged(_NOT_STORED))
            case Error(args=refusal) if self._sent is not None:
                self._settle(Refused.of(refusal))
            case _:
                self._push(message)

    def _take_stored(self, message: ChatMessage) -> None:
        stored = message.args
        # Timestamps rise strictly within a chat, so the last one seen is a place in it.
        if self._seen is not None and stored.timestamp <= self._seen:
            return
        self._seen = stored.timestamp
        if self._sent is not None and stored.sender == self.sender and stored.content == self._sent.content:
            self._settle(stored)
        self._push(message)

    def _take_history(self, message: ChatHistory, messages: list[StoredMessage]) -> None:
        if self._joined_again:
            for stored in messages:
                self._take_stored(ChatMessage(args=stored))
            return
        if messages:
            self._seen = messages[-1].timestamp
        self._push(message)

    def _take_joined(self, message: Joined, participant: UserJoined | SupportJoined) -> None:
        if isinstance(participant, SupportJoined):
            self.support_id = participant.support_id
            self.support_name = participant.support_user_name
        # A join after a drop is told again who is there.
        if participant not in self._joined:
            self._joined.append(participant)
            self._push(message)

    # Settling what was sent.

    def _settle(self, outcome: StoredMessage | LiveSupportError) -> None:
        sent, self._sent = self._sent, None
        self._in_doubt = False
        self._answered.set()
        if sent is not None:
            sent.settle(outcome)

    def _lost(self) -> None:
        self._in_doubt = self._sent is not None

    def _ended(self, error: Exception) -> None:
        self._settle(error if isinstance(error, ChatGone) else unanswered(error))


def _message(me: UserJoin | SupportJoin, support_id: str | None, content: str) -> NewChatMessage:
    if isinstance(me, UserJoin):
        return NewChatMessage(args=NewUserMessage(user_id=me.user_id, content=content, support_id=support_id or UNSET))
    return NewChatMessage(
        args=NewSupportMessage(
            user_id=me.user_id,
            content=content,
            support_id=support_id or "",
            support_user_name=me.support_user_name,
        )
    )
