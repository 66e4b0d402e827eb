"""ChatSession: one WebSocket's life inside a chat. The rules of PROTOCOL section 3; knows no socket."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, NamedTuple, Protocol

from api.live_chat import LiveChat, expired_frame
from api.live_chats import LiveChats
from live_support.agents.auth import ANYBODY, Agent, AgentAuth, close_at_expiry
from live_support.chats.join_queue import JoinQueue
from live_support.chats.store import STORED, ChatStore, JoinAttempt, Snapshot, Writer, outcome
from live_support.refusal_log import Refusal, refused
from live_support.websocket.handler import Handler, Pending
from schemas.codec import (
    HISTORY_BEGIN,
    HISTORY_END,
    decode_client_message,
    encode,
    error_frame,
    frame_of,
    history_frame,
)
from schemas.entry import CHAT_MESSAGE
from schemas.errors import (
    AlreadyJoined,
    ChatError,
    ChatGone,
    CloseCode,
    Forbidden,
    NotAuthenticated,
    NotJoined,
    RateLimited,
    Unavailable,
)
from schemas.ids import check_ids
from schemas.messages import (
    Join,
    NewSupportMessage,
    NewUserMessage,
    Participant,
    SupportJoin,
    SupportJoined,
    UserJoin,
    UserJoined,
)
from schemas.text import clean_content, clean_name

_NOT_YOURS = "The ids or `from` do not match this connection."


class Outgoing(Protocol):
    """The connection, as a session sees it."""

    id: str

    def send(self, frame: bytes) -> None:
        """Queue a frame."""

    async def send_part(self, part: bytes, *, last: bool = False) -> bool:
        """Send a part of a message when the peer has taken the former ones; say whether it still takes any."""

    def close(self, code: CloseCode) -> None:
        """Close after the queued frames."""

    def clear_deadline(self) -> None:
        """Call off the deadline of the join."""

    def request_started(self) -> None:
        """Count a frame whose answer comes later; with too many of them in flight, later frames wait."""

    def request_finished(self, error: Exception | None) -> None:
        """End what `request_started` began; an error is told to the client."""


class Services(NamedTuple):
    """What sessions work with."""

    store: ChatStore
    queue: JoinQueue
    chats: LiveChats
    auth: AgentAuth


class ChatSession(Handler):
    """What a connection may do in a chat, and what it is told.

    Args:
        chat_id: of the address that was connected to.
        peer: the connection.
        services: shared by all sessions of the process.
        tokens: what the handshake shows; looked at when a Support joins.
    """

    __slots__ = (
        "_chat",
        "_chat_id",
        "_keep_open",
        "_participant",
        "_peer",
        "_services",
        "_support_id",
        "_tokens",
        "_user_id",
        "_writer",
        "cursor",
        "send",
    )

    def __init__(self, chat_id: str, peer: Outgoing, services: Services, *, tokens: Sequence[str]) -> None:
        self._chat_id = chat_id
        self._peer = peer
        self._services = services
        self._tokens = tokens
        self._keep_open: Callable[[], None] = _nothing
        self._chat: LiveChat | None = None
        self._participant: Participant | None = None
        self._user_id = ""
        self._support_id: str | None = None
        self._writer: Writer | None = None
        self.send = peer.send
        """Passes on a frame of the chat."""
        self.cursor: int | None = None
        """The last entry of the chat's log that was sent here; None before the join."""

    @property
    def connection_id(self) -> str:
        """Names the connection in the chat's log."""
        return self._peer.id

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        self._peer.close(code)

    def frame_received(self, frame: bytes) -> Pending:
        message: Any = decode_client_message(frame)
        return self._join(message.args) if isinstance(message, Join) else self._say(message.args)

    def error_frame(self, error: ChatError) -> bytes:
        return error_frame(error)

    async def idle_grace(self, idle_seconds: float) -> float:
        """Say for how many seconds more a connection may be idle: in the queue, or until the chat ends at once."""
        if self._chat is None:
            return 0
        waits = self._participant == "User" and self._services.chats.patience(self._chat, idle_seconds)
        return waits or await self._chat.idle_grace()

    def connection_lost(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self._keep_open()
        if self._chat is not None:
            self._services.chats.leave(self._chat, self, self._participant)
            self._chat = None

    # Joining.

    async def _join(self, args: UserJoin | SupportJoin) -> None:
        if self._participant is not None:
            raise AlreadyJoined("This connection has joined already.")
        try:
            agent = self._services.auth.agent_of(self._tokens) if isinstance(args, SupportJoin) else ANYBODY
        except NotAuthenticated:
            self._peer.close(CloseCode.NOT_AUTHENTICATED)
            return
        attempt = _attempt(args, self._peer.id, agent)
        chat = self._chat = self._services.chats.enter(self._chat_id, self)
        asked = False
        try:
            # Listening first and reading afterwards, so that nothing falls between the two.
            await self._services.chats.listening(chat)
            async with self._held(args, agent):
                asked = True
                snapshot = await self._services.store.join(self._chat_id, attempt)
            place = await self._bring_queue_in_step(args, snapshot)
            if snapshot.full:  # only now, because a join that fails replaces nobody
                await self._services.store.make_room(self._chat_id, attempt.participant, self._peer.id)
        except BaseException as error:
            self._leave()
            decided = isinstance(error, ChatError | ChatGone) and not isinstance(error, Unavailable)
            if asked and not decided:
                # It may be on the chat's list all the same: it would replace another, or keep its Support out.
                self._services.chats.withdraw(self._chat_id, attempt.participant, attempt.connection_id)
            if isinstance(error, ChatGone):
                self._expired()
                return
            if isinstance(error, Unavailable):
                error.close = CloseCode.TRY_AGAIN_LATER
            if isinstance(error, RateLimited):
                refused(Refusal.CHAT_JOINS)
            raise
        self._keep_open = close_at_expiry(agent, self._peer.close)
        self._tokens = ()
        self._peer.clear_deadline()
        self._participant = attempt.participant
        self._writer = self._services.store.writer(self._chat_id, self._peer.id, attempt.participant)
        self._user_id = args.user_id
        self._support_id = snapshot.support_id if isinstance(args, SupportJoin) else None
        chat.learn(snapshot, user_id=args.user_id, place=place)
        await self._tell(chat, args, snapshot)

    async def _tell(self, chat: LiveChat, args: UserJoin | SupportJoin, snapshot: Snapshot) -> None:
        """Tell the connection what the chat is, and then everything that happens in it."""
        joined = list(_joined(args, snapshot))
        for frame in joined:
            self._peer.send(frame)
        if snapshot.messages or not joined:
            if snapshot.entries is None:
                if not await self._send_long_history(snapshot):
                    return
            else:
                bodies = [entry.body for entry in snapshot.entries if entry.kind == CHAT_MESSAGE]
                self._peer.send(history_frame(bodies))
        chat.follow(self, snapshot.offset)

    async def _send_long_history(self, snapshot: Snapshot) -> bool:
        """Send a history as the peer takes it: nothing is read for one that takes nothing, or has gone.

        Returns:
            Whether it was sent as a whole.
        """
        before = HISTORY_BEGIN
        try:
            async with aclosing(self._services.store.messages(self._chat_id, snapshot)) as pieces:
                async for bodies in pieces:
                    if bodies:
                        if not await self._peer.send_part(before + b",".join(bodies)):
                            return False
                        before = b","
        except ChatGone:
            await self._peer.send_part(HISTORY_END, last=True)
            self._expired()
            return False
        except Unavailable as error:
            error.close = CloseCode.TRY_AGAIN_LATER
            raise
        return await self._peer.send_part(HISTORY_END, last=True)

    @asynccontextmanager
    async def _held(self, args: UserJoin | SupportJoin, agent: Agent) -> AsyncIterator[None]:
        """Keep other agents from the user while an agent with a token joins for the first time.

        Raises:
            AlreadyClaimed: another agent's claim holds the user.
        """
        if agent is ANYBODY or args.support_id is not None:
            yield
            return
        queue, claim_id = self._services.queue, agent.claim_id(self._peer.id)
        held = await queue.hold(args.user_id, chat_id=self._chat_id, agent_id=agent.id, claim_id=claim_id)
        try:
            yield
        except (ChatError, ChatGone):
            if held:
                with suppress(Unavailable):  # then the lease runs out
                    await queue.unhold(args.user_id, claim_id=claim_id)
            raise

    async def _bring_queue_in_step(self, args: UserJoin | SupportJoin, snapshot: Snapshot) -> int | None:
        """Let the user wait or be served, as the chat says; return the place in the queue while waiting.

        It is done on every join: this heals a crash between the chat's step and the queue's.
        """
        queue = self._services.queue
        if snapshot.waiting:
            return await queue.enqueue(user_id=args.user_id, chat_id=self._chat_id)
        if snapshot.support_id is not None:
            await queue.serve(user_id=args.user_id, chat_id=self._chat_id)
        return None

    # Talking.

    def _say(self, args: NewUserMessage | NewSupportMessage) -> Pending:
        chat, writer = self._chat, self._writer
        if chat is None or writer is None:
            raise NotJoined("The first message is Join.")
        if args.user_id != self._user_id:
            raise _not_yours(args)
        if isinstance(args, NewSupportMessage):
            if self._participant != "Support" or args.support_id != self._support_id:
                raise _not_yours(args)
        elif self._participant != "User":
            raise _not_yours(args)
        elif args.support_id is not None and args.support_id != chat.support_id:
            check_ids(args.support_id)
            return self._say_if_joined_elsewhere(args.support_id, args.content, writer)
        content = clean_content(args.content)
        self._peer.request_started()
        writer.append(content, self._stored)
        return None

    async def _say_if_joined_elsewhere(self, support_id: str, content: str, writer: Writer) -> None:
        # The agent may have joined on another process a moment ago.
        try:
            current = await self._services.store.support_id(self._chat_id)
        except ChatGone:
            self._expired()
            return
        if support_id != current:
            raise Forbidden(_NOT_YOURS)
        content = clean_content(content)
        self._peer.request_started()
        writer.append(content, self._stored)

    def _stored(self, reply: bytes | Exception) -> None:
        """Hear what became of a message. The echo comes with the log, as for everybody."""
        if reply == STORED:  # nearly always, and every message comes here
            self._peer.request_finished(None)
            return
        error = outcome(reply)
        if isinstance(error, ChatGone):
            self._expired()
            error = None
        self._peer.request_finished(error)

    def _expired(self) -> None:
        self._peer.send(expired_frame(self._chat_id))
        self._peer.close(CloseCode.CHAT_GONE)


def _not_yours(args: NewUserMessage | NewSupportMessage) -> Forbidden:
    check_ids(args.user_id, args.support_id)
    return Forbidden(_NOT_YOURS)


def _nothing() -> None:
    pass


def _attempt(args: UserJoin | SupportJoin, connection_id: str, agent: Agent) -> JoinAttempt:
    if isinstance(args, UserJoin):
        return JoinAttempt(
            connection_id=connection_id,
            participant="User",
            user_id=args.user_id,
            support_id=args.support_id,
            token=args.token,
            joined=encode(UserJoined(user_id=args.user_id)),
        )
    # On a re-join the name is only carried: the stored one counts.
    name = "" if args.support_id else _name_of(agent) or _cleaned(args.support_user_name)
    joined = SupportJoined(
        user_id=args.user_id,
        support_id=secrets.token_hex(16),
        support_user_name=name,
    )
    return JoinAttempt(
        connection_id=connection_id,
        participant="Support",
        user_id=args.user_id,
        support_id=args.support_id,
        agent_id=agent.id,
        joined=encode(joined),
        new_support_id=joined.support_id,
        support_user_name=joined.support_user_name,
    )


def _name_of(agent: Agent) -> str:
    """Return the name that an agent's token gives; "" where it is no name of ours."""
    with suppress(ChatError):
        return _cleaned(agent.name)
    return ""


def _cleaned(name: str | None) -> str:
    return clean_name(name) if name else ""


def _joined(args: UserJoin | SupportJoin, snapshot: Snapshot) -> Iterator[bytes]:
    """Say who is in the chat, if the joining connection needs to know (the table of PROTOCOL section 3)."""
    user = frame_of(b"Joined", encode(UserJoined(user_id=args.user_id)))
    support = (
        frame_of(b"Joined", encode(SupportJoined(args.user_id, snapshot.support_id, snapshot.support_user_name)))
        if snapshot.support_id
        else None
    )
    match args, snapshot.first:
        case SupportJoin(), True:
            told = [support]
        case SupportJoin(), False:
            told = []
        case UserJoin(support_id=str()), False if support:
            told = []
        case _:
            told = [user, support]
    yield from filter(None, told)
