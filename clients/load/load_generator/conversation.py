"""Conversation: one chat from registration to leaving, with both of its participants."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from live_support_client import (
    Chat,
    ChatClient,
    ChatExpired,
    ChatHistory,
    ChatMessage,
    Error,
    LiveSupportError,
    NotAcknowledged,
    Refused,
    StoredMessage,
)
from load_generator.agents import Agents, error_code
from load_generator.latency import Recorder
from load_generator.verifier import Delivered, Side, Token, Verifier, Violation

CLAIM_SECONDS = 60
"""How long a user waits for an agent: longer than a lease."""
SETTLE_SECONDS = 15
"""How long the last messages may take at the end of a chat."""


class Participant:
    """One side's connection, made again at every refresh.

    Args:
        side: whose.
        connect: makes the `Chat` for a join with the `supportId` known so far.
        hear: is given what the side is shown.
    """

    def __init__(self, side: Side, connect: Callable[[str | None], Chat], hear: Callable[[object], None]) -> None:
        self.side = side
        self._connect = connect
        self._hear = hear
        self._caught_up = asyncio.Event()
        self.chat = connect(None)
        self._listener: asyncio.Task[None] | None = None

    async def join(self) -> Self:
        """Connect, join and listen."""
        await self.chat.__aenter__()
        self._listener = asyncio.create_task(self._listen(self.chat))
        return self

    async def leave(self) -> None:
        """Close the connection, and hear out what had come before."""
        await self.chat.aclose()
        if self._listener is not None:
            await self._listener

    async def refresh(self, *, know_support: bool) -> None:
        """Leave and join again as a reloaded page does; returns when the history is here."""
        support_id = self.chat.support_id if know_support else None
        await self.leave()
        self._caught_up.clear()
        self.chat = self._connect(support_id)
        await self.join()
        async with asyncio.timeout(SETTLE_SECONDS):
            await self._caught_up.wait()

    async def _listen(self, chat: Chat) -> None:
        try:
            async for message in chat:
                self._hear(message)
                if isinstance(message, ChatHistory):
                    self._caught_up.set()
        except LiveSupportError as error:
            self._hear(error)


class Conversation:
    """One chat, its two participants, and the check of what they are shown.

    Args:
        client: of the ChatServer.
        recorder: takes latencies, counts and errors.
        report: is called with the text of a violation.
    """

    def __init__(self, client: ChatClient, recorder: Recorder, report: Callable[[str], None]) -> None:
        self._client = client
        self._recorder = recorder
        self._report = report
        self._verifier = Verifier("")
        self._sides: dict[Side, Participant] = {}
        self._busy = 0
        self.broken = False
        """Whether it is no use any more, because of an error or a violation."""

    async def begin(self, agents: Agents) -> Self:
        """Register and join as the user, be claimed, and join as the agent.

        Raises:
            LiveSupportError, TimeoutError: it did not succeed.
        """
        started = time.monotonic_ns()
        user = await self._client.register("Nika")
        self._verifier = Verifier(user.chat_id)
        claimed = agents.expect(user.user_id)
        try:
            await self._join("User", lambda support_id: self._client.chat(user, support_id=support_id))
            # So that the agent finds a history.
            await self.say("User", time.monotonic_ns())
            async with asyncio.timeout(CLAIM_SECONDS):
                request = await claimed
            await self._join(
                "Support", lambda support_id: self._client.support_chat(request, name="Vika", support_id=support_id)
            )
        except BaseException as error:
            claimed.cancel()
            await self._leave()
            if isinstance(error, Violation):
                self._violated(error)
            raise
        self._recorder.record("setup", time.monotonic_ns() - started)
        self._recorder.counts["begun"] += 1
        self._recorder.chats += 1
        return self

    async def say(self, side: Side, intended_ns: int) -> None:
        """Send a message, and wait until it is stored or has failed."""
        token = self._verifier.issue(side, intended_ns)
        self._recorder.counts["sent"] += 1
        try:
            with self._work():
                await self._sides[side].chat.send(str(token))
        except LiveSupportError as error:
            self._verifier.failed(side, token, may_come=not isinstance(error, Refused) or error.code == "unavailable")
            self._failed(error)
        else:
            self._verifier.acknowledged(side, token)

    async def refresh(self, side: Side, *, know_support: bool) -> None:
        """Reload a participant's page."""
        started = time.monotonic_ns()
        try:
            with self._work():
                await self._sides[side].refresh(know_support=know_support or side == "Support")
        except (LiveSupportError, TimeoutError) as error:
            self.broken = True
            self._failed(error)
            return
        self._recorder.record("refresh", time.monotonic_ns() - started)
        self._recorder.counts["refreshed"] += 1

    async def end(self) -> None:
        """Wait for the last messages, leave, and check that nothing is missing."""
        patience = time.monotonic() + SETTLE_SECONDS
        while not self._is_quiet() and time.monotonic() < patience:  # noqa: ASYNC110 - many things must have come
            await asyncio.sleep(0.02)
        await self._leave()
        self._recorder.chats -= 1
        self._recorder.counts["ended"] += 1
        if not self.broken:
            try:
                self._verifier.finish()
            except Violation as violation:
                self._violated(violation)

    @property
    def count(self) -> int:
        """How many messages the chat holds."""
        return self._verifier.count

    def _is_quiet(self) -> bool:
        return not self._busy and (self.broken or self._verifier.settled)

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Keep the participants from leaving meanwhile."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def _join(self, side: Side, connect: Callable[[str | None], Chat]) -> None:
        def hear(message: object) -> None:
            if self.broken:
                return
            try:
                self._hear(side, message)
            except Violation as violation:
                self._violated(violation)

        participant = Participant(side, connect, hear)
        self._sides[side] = participant
        await participant.join()

    async def _leave(self) -> None:
        await asyncio.gather(*(participant.leave() for participant in self._sides.values()))

    def _hear(self, side: Side, message: object) -> None:
        match message:
            case ChatMessage(args=stored):
                now, delivered = time.monotonic_ns(), _delivered(stored)
                self._verifier.deliver(side, delivered)
                kind = "echo" if delivered.sender == side else "delivery"
                self._recorder.counts[kind] += 1
                self._recorder.record(kind, now - delivered.token.intended_ns)
            case ChatHistory(args=history):
                self._verifier.catch_up(side, map(_delivered, history.messages))
                self._recorder.counts["history"] += 1
            case Error(args=refusal):
                self._recorder.errors[refusal.code] += 1
            case ChatExpired():
                self.broken = True
                self._recorder.errors["ChatExpired"] += 1
            case Exception() as error:
                self.broken = True
                self._recorder.errors[error_code(error)] += 1

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, Refused | NotAcknowledged):
            self.broken = True
        self._recorder.errors[error_code(error)] += 1

    def _violated(self, violation: Violation) -> None:
        self.broken = True
        self._report(f"chat {self._verifier.chat_id}: {violation}")


def _delivered(stored: StoredMessage) -> Delivered:
    return Delivered(stored.sender, Token.parse(stored.content), stored.timestamp)
