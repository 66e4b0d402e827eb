"""ChatSession: one WebSocket's life inside a chat. The rules of PROTOCOL section 3; knows no socket."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from api.joining import Joining
from api.live_chat import LiveChat
from api.roles import BY_JOIN, Role
from api.services import Outgoing, Services
from live_support.agents.auth import ANYBODY, close_at_expiry
from live_support.chats.writer import NOT_YOURS, STORED, Writer, append_error
from live_support.websocket.handler import Handler, Pending
from schemas.errors import (
    AlreadyJoined,
    ChatError,
    ChatGone,
    CloseCode,
    Forbidden,
    NotAuthenticated,
    NotJoined,
)
from schemas.ids import check_ids
from schemas.messages import Join, Message, NewChatMessage, NewSupportMessage, NewUserMessage
from schemas.text import clean_content
from schemas.wire import Wire


class Membership(NamedTuple):
    """A connection's role, chat and ids, once it has joined."""

    role: Role
    chat: LiveChat
    writer: Writer
    user_id: str
    support_id: str | None
    """Of a Support; None for a User."""


class ChatSession(Handler):
    """Checks and handles the messages of one connection in a chat.

    Args:
        chat_id: from the address of the WebSocket.
        connection: the session's own.
        services: shared by all sessions of the process.
        wire: the connection's version of the protocol.
        tokens: of the handshake; checked when a Support joins.
    """

    __slots__ = (
        "_cancel_expiry",
        "_chat",
        "_chat_id",
        "_connection",
        "_membership",
        "_services",
        "_tokens",
        "cursor",
        "send",
        "wire",
    )

    def __init__(
        self, chat_id: str, connection: Outgoing, services: Services, *, wire: Wire, tokens: Sequence[str]
    ) -> None:
        self._chat_id = chat_id
        self._connection = connection
        self._services = services
        self._tokens = tokens
        self._cancel_expiry: Callable[[], None] = _nothing
        self._chat: LiveChat | None = None
        self._membership: Membership | None = None
        self.wire = wire
        """Encodes messages to the client."""
        self.send = connection.send
        """Sends a frame."""
        self.cursor: int | None = None
        """The offset of the last entry of the chat's log that was sent; None before the join."""

    @property
    def connection_id(self) -> str:
        """Name of the connection in the chat's log."""
        return self._connection.id

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        self._connection.close(code)

    def frame_received(self, frame: bytes) -> Pending:
        message, membership = self.wire.decode(frame), self._membership
        if membership is None:
            if not isinstance(message, Join):
                raise NotJoined("The first message must be Join.")
            return self._join(message)
        type_ = type(message)
        if type_ not in membership.role.may_send:
            raise Forbidden(NOT_YOURS)
        return _HANDLERS[type_](self, membership, message)

    def error_frame(self, error: ChatError) -> bytes:
        return self.wire.error(error)

    async def idle_grace(self, idle_seconds: float) -> float:
        """Return how many seconds longer the connection may be idle: in the queue, or if the chat expires soon."""
        if self._chat is None:
            return 0
        waits = self._membership is not None and self._membership.role.waits
        waiting_grace = waits and self._services.chats.waiting_grace(self._chat, idle_seconds)
        return waiting_grace or await self._chat.idle_grace()

    def connection_lost(self) -> None:
        self._cancel_expiry()
        self._leave()

    def _leave(self) -> None:
        if self._chat is not None:
            participant = self._membership.role.participant if self._membership else None
            self._services.chats.leave(self._chat, self, participant)
            self._chat = None

    def _expired(self) -> None:
        self._connection.send(self.wire.expired(self._chat_id))
        self._connection.close(CloseCode.CHAT_GONE)

    async def _join(self, message: Join) -> None:
        args, connection, services = message.args, self._connection, self._services
        role = BY_JOIN[type(args)]
        try:
            agent = services.auth.agent_of(self._tokens) if role.is_agent else ANYBODY
        except NotAuthenticated:
            connection.close(CloseCode.NOT_AUTHENTICATED)
            return
        joining = Joining(self._chat_id, services, connection, wire=self.wire, args=args, agent=agent)
        chat = self._chat = services.chats.enter(self._chat_id, self)
        try:
            snapshot, queued_at_us = await joining.admit(chat)
        except BaseException as error:
            self._leave()
            if not isinstance(error, ChatGone):
                raise
            self._expired()
            return
        self._cancel_expiry = close_at_expiry(agent, connection.close)
        self._tokens = ()
        connection.clear_deadline()
        support_id = snapshot.support_id if role.is_agent else None
        writer = services.store.writer(self._chat_id, connection.id, support_id or args.user_id)
        self._membership = Membership(role, chat, writer, args.user_id, support_id)
        chat.learn(snapshot, user_id=args.user_id, queued_at_us=queued_at_us)
        try:
            told = await joining.answer(snapshot)
        except ChatGone:
            self._expired()
            return
        if told:
            chat.follow(self, snapshot.offset)

    # The messages of a connection that has joined.

    def _join_again(self, membership: Membership, message: Join) -> Pending:  # noqa: ARG002
        raise AlreadyJoined("This connection has joined already.")

    def _say(self, membership: Membership, message: NewChatMessage) -> Pending:
        args = message.args
        if args.user_id != membership.user_id or type(args) is not membership.role.message_args:
            raise _not_yours(args)
        if args.support_id != membership.support_id:
            if membership.role.is_agent:
                raise _not_yours(args)
            if args.support_id != membership.chat.support_id:
                check_ids(args.support_id)
                return self._say_if_joined_elsewhere(membership, args.support_id, args.content)
        self._append(membership, args.content)
        return None

    async def _say_if_joined_elsewhere(self, membership: Membership, support_id: str | None, content: str) -> None:
        # The agent may have joined on another process a moment ago.
        try:
            current = await self._services.store.support_id(self._chat_id)
        except ChatGone:
            self._expired()
            return
        if support_id != current:
            raise Forbidden(NOT_YOURS)
        self._append(membership, content)

    def _append(self, membership: Membership, content: str) -> None:
        content = clean_content(content)
        self._connection.request_started()
        membership.writer.append(content, self._stored)

    def _stored(self, reply: bytes | Exception) -> None:
        """Handle the result of a message. The echo comes as an entry of the log."""
        if reply == STORED:  # the usual case, checked first because every message comes here
            self._connection.request_finished(None)
            return
        error = append_error(reply)
        if isinstance(error, ChatGone):
            self._expired()
            error = None
        self._connection.request_finished(error)


_HANDLERS: Final[Mapping[type[Message], Callable[[ChatSession, Membership, Any], Pending]]] = {
    Join: ChatSession._join_again,
    NewChatMessage: ChatSession._say,
}
"""The method for each message of the registry."""


def _not_yours(args: NewUserMessage | NewSupportMessage) -> Forbidden:
    check_ids(args.user_id, args.support_id)
    return Forbidden(NOT_YOURS)


def _nothing() -> None:
    pass
