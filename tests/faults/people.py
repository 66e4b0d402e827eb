"""Users and agents: clients of the SDK that take down every frame as it came, repeated or not."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TypeVar

import httpx

from live_support_client import (
    AlreadyClaimed,
    Backoff,
    Chat,
    ChatClient,
    ChatExpired,
    ChatGone,
    ChatHistory,
    ChatMessage,
    ChatServerMessage,
    ConnectionLost,
    Joined,
    JoinRequest,
    JoinsClient,
    JoinsServerMessage,
    LiveSupportError,
    NotAcknowledged,
    NotWaiting,
    Options,
    Refused,
    RegisteredUser,
    StoredMessage,
    SupportJoin,
    SupportJoined,
    Unavailable,
    UserJoin,
)
from live_support_client._sockets import ChatSocket, JoinsSocket
from tests.faults.history import (
    Claimed,
    Closed,
    Echoed,
    Expired,
    Introduced,
    ListClosed,
    ListOpened,
    Message,
    Opened,
    Received,
    Recorder,
    Role,
    Sent,
    Shown,
    Snapshot,
    Unanswered,
    make_token,
    now,
)
from tests.helpers.services import UNIT

OPTIONS = Options(
    backoff=Backoff(first_seconds=0.1, longest_seconds=0.5, restart_seconds=0.5, give_up_seconds=None),
    connect_seconds=3,
    ping_seconds=None,
    # Bare: to load the certificates, which nobody needs here, would take each client longer than all it does.
    ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    trust_env=False,
)
"""Impatient clients: how soon the system is back is what is measured, not how long they would wait."""

SILENCE_SECONDS = 300 * UNIT
"""A message without any answer for so long, while the connection may come and go, was met with silence."""

AGAIN_SECONDS = 0.1
Urls = Callable[[], str]


def any_of(urls: Sequence[str]) -> Urls:
    """Choose as a load balancer does: another one each time, one after the other from a random one on."""
    turn = count(random.randrange(len(urls)))  # noqa: S311
    return lambda: urls[next(turn) % len(urls)]


class RecordedChat(Chat):
    """A participant's side of a chat that notes all it is shown.

    Args:
        recorder: where it is noted.
        urls: asked for a ChatServer with every connection.
        chat_id: the chat.
        me: the first `Join`.
        options: how to connect.
    """

    def __init__(
        self, recorder: Recorder, urls: Urls, chat_id: str, me: UserJoin | SupportJoin, options: Options = OPTIONS
    ) -> None:
        super().__init__("", chat_id, me, options)
        self._urls = urls
        self._recorder = recorder
        self.role: Role = "User" if isinstance(me, UserJoin) else "Support"
        self._view = 0
        self._view_is_open = False
        self._told: set[tuple[str, str | None]] = set()
        self.ended: Exception | None = None
        """Why there will be no other connection."""

    async def _open(self, headers: Mapping[str, str]) -> ChatSocket:
        self._url = self._urls().replace("http", "ws", 1)
        self._view = self._recorder.view()
        try:
            return await super()._open(headers)
        except BaseException:
            self._close_view()
            raise

    def _take(self, message: ChatServerMessage) -> None:
        if not self._view_is_open:
            self._view_is_open = True
            self._told.clear()
            self._recorder.note(Opened(at=now(), chat=self.chat_id, view=self._view, role=self.role))
        match message:
            case Joined(args=who):
                self._tell(who.user_id, who.support_id if isinstance(who, SupportJoined) else None)
            case ChatHistory(args=history):
                messages = tuple(self._seen_message(stored) for stored in history.messages)
                self._recorder.note(Snapshot(at=now(), chat=self.chat_id, view=self._view, messages=messages))
            case ChatMessage(args=stored):
                received = self._seen_message(stored)
                self._recorder.note(Received(at=now(), chat=self.chat_id, view=self._view, message=received))
        super()._take(message)

    def _seen_message(self, stored: StoredMessage) -> Message:
        self._tell(stored.user_id, stored.support_id or None)
        return Message(stored.content, stored.timestamp)

    def _tell(self, user: str, support: str | None) -> None:
        if (user, support) not in self._told:
            self._told.add((user, support))
            told = Introduced(at=now(), chat=self.chat_id, view=self._view, user=user, support=support)
            self._recorder.note(told)

    def _push(self, item: ChatServerMessage) -> None:
        if isinstance(item, ChatExpired):
            expired = Expired(at=now(), chat=self.chat_id, view=self._view, named=item.args.chat_id)
            self._recorder.note(expired)
        super()._push(item)

    def _lost(self) -> None:
        self._close_view()
        super()._lost()

    def _ended(self, error: Exception) -> None:
        self.ended = error
        super()._ended(error)

    def _close_view(self) -> None:
        if self._view_is_open:
            self._view_is_open = False
            self._recorder.note(Closed(at=now(), chat=self.chat_id, view=self._view))

    async def aclose(self) -> None:
        """Close, and note it."""
        self._close_view()
        await super().aclose()

    def drop(self) -> None:
        """Cut the connection; the client makes another one."""
        if self._socket is not None:
            self._socket.abort()

    @property
    def is_open(self) -> bool:
        """Whether it has joined over a connection that stands."""
        return self._view_is_open


class RecordedJoins(JoinsClient):
    """An agent's waiting list that notes whom it is shown.

    Args:
        recorder: where it is noted.
        urls: asked for a Subscriber with every connection.
        agent: a name for reports.
    """

    def __init__(self, recorder: Recorder, urls: Urls, agent: str, options: Options = OPTIONS) -> None:
        super().__init__(urls(), options=options)
        self._urls = urls
        self._recorder = recorder
        self._agent = agent
        self._view_is_open = False
        self.view = 0

    async def _open(self, headers: Mapping[str, str]) -> JoinsSocket:
        self._url = self._urls().replace("http", "ws", 1)
        socket = await super()._open(headers)
        self.view = self._recorder.view()
        self._view_is_open = True
        self._recorder.note(ListOpened(at=now(), view=self.view, agent=self._agent))
        return socket

    def _take(self, message: JoinsServerMessage) -> None:
        if isinstance(message, JoinRequest):
            self._recorder.note(Shown(at=now(), view=self.view, user=message.user_id, chat=message.chat_id))
        super()._take(message)

    def _lost(self) -> None:
        self._close_view()
        super()._lost()

    def _close_view(self) -> None:
        if self._view_is_open:
            self._view_is_open = False
            self._recorder.note(ListClosed(at=now(), view=self.view))

    async def aclose(self) -> None:
        """Close, and note it."""
        self._close_view()
        await super().aclose()

    async def claim(self, request: JoinRequest | str) -> None:
        """Claim, and note the outcome if there is one."""
        user = request if isinstance(request, str) else request.user_id
        sent_at = now()
        try:
            await super().claim(request)
        except (AlreadyClaimed, NotWaiting):
            self._recorder.note(Claimed(at=now(), sent_at=sent_at, view=self.view, user=user, won=False))
            raise
        self._recorder.note(Claimed(at=now(), sent_at=sent_at, view=self.view, user=user, won=True))

    def drop(self) -> None:
        """Cut the connection; the client makes another one."""
        if self._socket is not None:
            self._socket.abort()


Entered = TypeVar("Entered", RecordedChat, RecordedJoins)


class Crowd:
    """Who takes part in a scenario, and what they have in common."""

    def __init__(self, recorder: Recorder, chat_urls: Sequence[str], joins_urls: Sequence[str], pause: float) -> None:
        self.recorder = recorder
        self.chat_urls = chat_urls
        self.joins_urls = joins_urls
        self.pause = pause
        """Seconds between a participant's messages, on average."""
        self.quiet = asyncio.Event()
        """Nobody begins to say anything any more."""
        self.shut_out: list[str] = []
        """Agents who had claimed a user and could not join, and participants who cannot go on: why, in a line each."""
        self.silences: list[str] = []
        """Messages without an answer."""
        self._attended: list[RecordedChat] = []
        self._numbers: dict[tuple[str, str], count[int]] = {}

    async def register(self, name: str) -> RegisteredUser:
        """Open a chat, however often that takes."""
        urls = any_of(self.chat_urls)
        while True:
            async with ChatClient(urls(), options=OPTIONS) as client:
                with suppress(ConnectionLost, Unavailable, httpx.TransportError):
                    user = await client.register(name)
                    self.recorder.users[user.chat_id] = user.user_id
                    return user
            await asyncio.sleep(AGAIN_SECONDS)

    def user_chat(self, user: RegisteredUser, urls: Urls | None = None) -> RecordedChat:
        """The user's side of a chat, to be entered."""
        me = UserJoin(user_id=user.user_id, username=user.username)
        return RecordedChat(self.recorder, urls or any_of(self.chat_urls), user.chat_id, me)

    def support_chat(self, request: JoinRequest, name: str, urls: Urls | None = None) -> RecordedChat:
        """The agent's side of a chat, to be entered."""
        me = SupportJoin(user_id=request.user_id, support_user_name=name)
        return RecordedChat(self.recorder, urls or any_of(self.chat_urls), request.chat_id, me)

    def joins(self, agent: str, urls: Urls | None = None) -> RecordedJoins:
        """An agent's waiting list, to be entered."""
        return RecordedJoins(self.recorder, urls or any_of(self.joins_urls), agent)

    async def enter(self, make: Callable[[], Entered]) -> Entered:
        """Enter a chat or a waiting list, however often that takes; to be closed by the caller.

        Raises:
            LiveSupportError: it will never be possible.
        """
        while True:
            connection = make()
            try:
                return await connection.__aenter__()
            except (ConnectionLost, Unavailable, TimeoutError):
                await asyncio.sleep(AGAIN_SECONDS)

    def chats(self, role: Role) -> list[RecordedChat]:
        """The chats that are attended, from one side."""
        return [chat for chat in self._attended if chat.role == role]

    # Talking.

    async def say(self, chat: RecordedChat, sender: str = "") -> bool:
        """Say something, and note what becomes of it. Returns whether it was echoed."""
        sender = sender or chat.role
        number = next(self._numbers.setdefault((chat.chat_id, sender), count(1)))
        token = make_token(chat.chat_id, sender, number)
        note = self.recorder.note
        note(Sent(at=now(), chat=chat.chat_id, token=token))
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await chat.send(token)
        except TimeoutError:
            self.silences.append(f"{token} got no answer")
            note(Unanswered(at=now(), chat=chat.chat_id, token=token, code="silence", may_come=True))
        except Refused as refusal:
            # A stream that has ended raises why, which says nothing of the message.
            may_come = isinstance(refusal, Unavailable) or chat.ended is not None
            note(Unanswered(at=now(), chat=chat.chat_id, token=token, code=refusal.code, may_come=may_come))
        except (NotAcknowledged, ChatGone, ConnectionLost) as error:
            code = type(error).__name__
            note(Unanswered(at=now(), chat=chat.chat_id, token=token, code=code, may_come=True))
        else:
            note(Echoed(at=now(), chat=chat.chat_id, token=token))
            return True
        return False

    async def attend(self, chat: RecordedChat) -> None:
        """Listen and talk in a chat that was entered, until cancelled; closes it."""
        listening = asyncio.create_task(_listen(chat))
        self._attended.append(chat)
        try:
            while chat.ended is None and not self.quiet.is_set():
                await self.say(chat)
                await asyncio.sleep(random.uniform(0.5, 1.5) * self.pause)  # noqa: S311
            await listening
        except ChatGone:
            pass
        except LiveSupportError as error:
            self.shut_out.append(f"{chat.role} of {chat.chat_id}: {error!r}")
        finally:
            self._attended.remove(chat)
            listening.cancel()
            await asyncio.wait([listening])
            await chat.aclose()

    async def visit(self, name: str) -> None:
        """Live a user's life: register, join, talk."""
        user = await self.register(name)
        try:
            chat = await self.enter(lambda: self.user_chat(user))
        except LiveSupportError as error:
            self.shut_out.append(f"User of {user.chat_id}: {error!r}")
            return
        await self.attend(chat)

    async def wait_in_line(self, name: str) -> None:
        """Live the life of a user who says nothing."""
        user = await self.register(name)
        chat = await self.enter(lambda: self.user_chat(user))
        try:
            await _listen(chat)
        finally:
            await chat.aclose()

    async def work(self, name: str) -> None:
        """Live an agent's life: claim whoever comes, join, talk."""
        urls = any_of(self.joins_urls)
        joins = await self.enter(lambda: self.joins(name, urls))
        try:
            async with asyncio.TaskGroup() as group:
                async for request in joins:
                    group.create_task(self._serve(joins, request, name))
        finally:
            await joins.aclose()

    async def _serve(self, joins: RecordedJoins, request: JoinRequest, name: str) -> None:
        while True:
            try:
                await joins.claim(request)
            except Unavailable:
                await asyncio.sleep(AGAIN_SECONDS)
            except (AlreadyClaimed, NotWaiting, NotAcknowledged, ConnectionLost):
                return
            else:
                break
        try:
            chat = await self.enter(lambda: self.support_chat(request, name))
        except ChatGone:
            return
        except LiveSupportError as error:
            self.shut_out.append(f"{name} in {request.chat_id}: {error!r}")
            return
        await self.attend(chat)


async def _listen(chat: RecordedChat) -> None:
    async for _ in chat:
        pass
