"""The two roles: a visitor who asks, and an agent who sees who waits, takes one, and answers."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from live_support_client._chat import Chat
from live_support_client._client import ChatClient
from live_support_client._errors import (
    AlreadyClaimed,
    ChatGone,
    InvalidInput,
    LiveSupportError,
    NotAcknowledged,
    NotAuthenticated,
    NotWaiting,
    Refused,
)
from live_support_client._joins import JoinsClient
from live_support_client._models import (
    ChatExpired,
    ChatHistory,
    ChatMessage,
    Error,
    Joined,
    JoinRequest,
    RegisteredUserWithToken,
    StoredMessage,
    SupportJoined,
)
from live_support_client._options import ConnectionState
from live_support_client._sockets import ChatServerMessage
from live_support_client.talk.terminal import Terminal
from live_support_client.talk.text import visible

QUIT, LEAVE = "/quit", "/leave"

T = TypeVar("T")


class Quit(Exception):
    """Raised when the person wants to go."""


class Talk:
    """A chat, on a terminal.

    Args:
        terminal: where.
        me: our name.
        them: how the other side is called as long as its name is not known.
    """

    def __init__(self, terminal: Terminal, me: str, them: str) -> None:
        self._terminal = terminal
        self._me = me
        self._them = them
        self._states = 0

    async def hold(self, chat: Chat) -> None:
        """Join, and talk until one side ends it.

        Raises:
            Quit: the person wants to go.
            LiveSupportError: the chat cannot go on.
        """
        async with chat:
            listening = asyncio.create_task(self._listen(chat))
            try:
                while (line := await first(listening, self._terminal.line())) is not None:
                    if line == LEAVE:
                        return
                    if line == QUIT:
                        raise Quit
                    if line.strip():
                        await first(listening, self._say(chat, line))
                if not listening.done():
                    raise Quit
            finally:
                await end(listening)
        if not listening.cancelled():
            listening.result()

    def state(self, state: ConnectionState) -> None:
        """Tell what becomes of the connection."""
        if state == "reconnecting":
            self._terminal.show("(The connection is lost; connecting again ...)")
        elif state == "connected":
            if self._states:
                self._terminal.show("(Connected again.)")
            self._states += 1

    async def _say(self, chat: Chat, line: str) -> None:
        try:
            await chat.send(line)
        except (Refused, NotAcknowledged) as error:
            self._terminal.show(f"(Not sent: {plain(error)})")
        except ChatGone:
            pass  # which is heard, too

    async def _listen(self, chat: Chat) -> None:
        try:
            async for message in chat:
                self._hear(chat, message)
        except ChatGone:
            pass

    def _hear(self, chat: Chat, message: ChatServerMessage) -> None:
        show = self._terminal.show
        match message:
            case Joined(args=SupportJoined(support_user_name=name)):
                if chat.sender == "User":
                    show(f"({visible(name)} is here.)")
            case ChatMessage(args=stored):
                if stored.sender != chat.sender or not self._terminal.is_interactive:
                    show(self._line(chat, stored))
            case ChatHistory(args=history):
                for stored in history.messages:
                    show(self._line(chat, stored))
            case ChatExpired():
                show("(The chat has ended.)")
            case Error(args=refusal):
                show(f"({visible(refusal.message)})")

    def _line(self, chat: Chat, stored: StoredMessage) -> str:
        if stored.sender == chat.sender:
            name = self._me
        else:
            name = (chat.support_name if chat.sender == "User" else None) or self._them
        return f"{visible(name)}: {visible(stored.content)}"


async def visit(terminal: Terminal, client: ChatClient, name: str | None) -> None:
    """Be a visitor."""
    user = await _register(terminal, client, name)
    if user is None:
        return
    terminal.show(f"(You are {visible(user.username)} and wait for an agent. Write, and press Enter; Ctrl-D ends.)")
    talk = Talk(terminal, user.username, "Support")
    await talk.hold(client.chat(user, on_state=talk.state))


async def _register(terminal: Terminal, client: ChatClient, name: str | None) -> RegisteredUserWithToken | None:
    question = "What is your name?"
    while True:
        if name is None:
            terminal.show(question)
            name = await terminal.line()
            if name is None or name == QUIT:
                return None
        try:
            return await client.create_user(name)
        except InvalidInput as error:
            terminal.show(f"({visible(str(error))})")
            name = None


class AgentDesk:
    """An agent, who sees who waits, takes one after another, and talks.

    Args:
        terminal: where.
        client: of the ChatServer.
        joins: the waiting users, entered.
        name: the agent's.
        token: the agent's, or None.
    """

    def __init__(
        self, terminal: Terminal, client: ChatClient, joins: JoinsClient, name: str, token: str | None
    ) -> None:
        self._terminal = terminal
        self._client = client
        self._joins = joins
        self._name = name
        self._token = token
        self._waiting: dict[int, JoinRequest] = {}
        self._shown = 0

    async def work(self) -> None:
        """Talk to one user after another."""
        self._terminal.show("(A number and Enter take that user, Enter alone takes the first; Ctrl-D ends.)")
        watching = asyncio.create_task(self._watch())
        try:
            while (line := await first(watching, self._terminal.line())) is not None and line != QUIT:
                if (request := self._chosen(line)) is not None and await self._claim(request):
                    await self._talk(request)
                    self._list()
            if watching.done():
                watching.result()
        finally:
            await end(watching)

    async def _watch(self) -> None:
        async for request in self._joins:
            self._shown += 1
            self._waiting[self._shown] = request
            self._terminal.show(_waits(self._shown, request))

    def _list(self) -> None:
        for number, request in self._waiting.items():
            self._terminal.show(_waits(number, request))
        if not self._waiting:
            self._terminal.show("(Nobody waits.)")

    def _chosen(self, line: str) -> JoinRequest | None:
        word = line.strip()
        number = next(iter(self._waiting), 0) if not word else int(word) if word.isascii() and word.isdigit() else -1
        request = self._waiting.pop(number, None)
        if request is None:
            self._terminal.show("(Nobody waits.)" if not self._waiting else "(Nobody with this number waits.)")
        return request

    async def _claim(self, request: JoinRequest) -> bool:
        try:
            await self._joins.claim(request)
        except AlreadyClaimed:
            self._terminal.show("(Another agent was faster.)")
        except NotWaiting:
            self._terminal.show("(This user is no longer in the queue.)")
        except (NotAcknowledged, Refused) as error:
            self._terminal.show(f"(Not taken: {plain(error)})")
        else:
            return True
        return False

    async def _talk(self, request: JoinRequest) -> None:
        talk = Talk(self._terminal, self._name, "User")
        chat = self._client.support_chat(request, name=self._name, token=self._token, on_state=talk.state)
        self._terminal.show("(The user is yours. Write, and press Enter; /leave goes back to who waits, Ctrl-D ends.)")
        try:
            await talk.hold(chat)
        except NotAuthenticated:
            raise
        except LiveSupportError as error:
            self._terminal.show(f"({plain(error)})")


def _waits(number: int, request: JoinRequest) -> str:
    return f"{number}) user {request.user_id[:8]} waits"


async def first(ends: asyncio.Task[Any], work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work, but not after a task has ended: then return None."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([ends, working], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()


async def end(task: asyncio.Task[None]) -> None:
    """End a task. What it has ended with before is told to whoever asks for its result."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def plain(error: LiveSupportError) -> str:
    """Say in one line what went wrong."""
    return visible(str(error) or type(error).__name__)
