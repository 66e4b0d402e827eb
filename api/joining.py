"""Joining: lets a connection into a chat, and answers its `Join` (the table of PROTOCOL section 3)."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

from api.live_chat import LiveChat
from api.roles import BY_JOIN
from api.services import Outgoing, Services
from live_support.agents.auth import ANYBODY, Agent
from live_support.chats.join_queue import Claimant
from live_support.chats.store import JoinAttempt, Snapshot
from live_support.refusal_log import Refusal, refused
from schemas.codec import encode
from schemas.entry import CHAT_MESSAGE
from schemas.errors import ChatError, ChatGone, CloseCode, RateLimited, Unavailable
from schemas.messages import SupportJoin, SupportJoined, UserJoin, UserJoined
from schemas.text import clean_name
from schemas.wire import Wire


class Admission(NamedTuple):
    """The result of a join."""

    snapshot: Snapshot
    queued_at_us: int | None
    """Since when the user has waited; None if the user is not waiting."""


class Joining:
    """One connection's attempt to join a chat.

    Args:
        chat_id: of the chat.
        services: shared by all sessions.
        connection: the one that joins.
        wire: its version of the protocol.
        args: of its `Join`.
        agent: the bearer of its token, if it joins as Support.

    Raises:
        InvalidContent: the name of a Support is not valid.
    """

    def __init__(
        self,
        chat_id: str,
        services: Services,
        connection: Outgoing,
        *,
        wire: Wire,
        args: UserJoin | SupportJoin,
        agent: Agent,
    ) -> None:
        self._chat_id = chat_id
        self._services = services
        self._connection = connection
        self._wire = wire
        self._args = args
        self._agent = agent
        self._attempt = _attempt(args, connection.id, agent)

    # Admission.

    async def admit(self, chat: LiveChat) -> Admission:
        """Join the chat, or undo everything.

        Args:
            chat: the connection must have entered it, so that it gets all later entries.

        Raises:
            ChatError: the join was refused, or Redis gave no definite answer.
            ChatGone: the chat is unknown or expired.
        """
        chat_id, attempt, services = self._chat_id, self._attempt, self._services
        asked = False
        try:
            # Subscribe first and read afterwards, so that nothing falls between the two.
            await services.chats.listening(chat)
            async with self._held():
                asked = True
                snapshot = await services.store.join(chat_id, attempt)
            queued_at_us = await self._bring_queue_in_step(snapshot)
            if snapshot.full:  # only now, so that a failed join replaces no connection
                await services.store.make_room(chat_id, attempt.participant, attempt.connection_id)
        except BaseException as error:
            decided = isinstance(error, ChatError | ChatGone) and not isinstance(error, Unavailable)
            if asked and not decided:
                # The outcome is unknown: the connection may be on the chat's list, where it would replace another one
                # or keep the Support out.
                services.chats.withdraw(chat_id, attempt.participant, attempt.connection_id)
            if isinstance(error, Unavailable):
                error.close = CloseCode.TRY_AGAIN_LATER
            if isinstance(error, RateLimited):
                refused(Refusal.CHAT_JOINS)
            raise
        return Admission(snapshot, queued_at_us)

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Hold a claim on the user while an agent with a token joins for the first time.

        Raises:
            AlreadyClaimed: another agent's claim holds the user.
        """
        args, agent, queue = self._args, self._agent, self._services.queue
        if agent is ANYBODY or args.support_id is not None:
            yield
            return
        claimant = Claimant(agent.id, self._connection.id)
        held = await queue.claim_for_join(args.user_id, claimant, chat_id=self._chat_id)
        try:
            yield
        except (ChatError, ChatGone):
            if held:
                with suppress(Unavailable):  # then the lease ends it
                    await queue.release_for_join(args.user_id, claimant)
            raise

    async def _bring_queue_in_step(self, snapshot: Snapshot) -> int | None:
        """Bring the user's state in the queue in step with the chat; return since when (µs) the user has waited.

        This is done on every join, so it repairs a crash between the chat's step and the queue's.
        """
        user_id, chat_id, queue = self._args.user_id, self._chat_id, self._services.queue
        if snapshot.waiting:
            return await queue.enqueue(user_id=user_id, chat_id=chat_id)
        if snapshot.support_id is not None:
            await queue.mark_served(user_id=user_id, chat_id=chat_id)
        return None

    # The answer.

    async def answer(self, snapshot: Snapshot) -> bool:
        """Send the connection the state of the chat at the join.

        Returns:
            Whether all was sent: not if the client does not read or has disconnected.

        Raises:
            ChatGone: the chat has expired meanwhile.
            Unavailable: Redis gave no definite answer.
        """
        joined = [self._wire.joined(args) for args in _present(self._args, snapshot)]
        for frame in joined:
            self._connection.send(frame)
        if not snapshot.messages and joined:
            return True
        if snapshot.entries is None:
            return await self._send_long_history(snapshot)
        bodies = [entry.body for entry in snapshot.entries if entry.kind == CHAT_MESSAGE]
        self._connection.send(self._wire.history(bodies))
        return True

    async def _send_long_history(self, snapshot: Snapshot) -> bool:
        """Send a history piece by piece as the client reads it; the rest is not read from Redis if it stops."""
        history, first = self._wire.history, True
        try:
            async with aclosing(self._services.store.messages(self._chat_id, snapshot)) as pieces:
                async for bodies in pieces:
                    if bodies:
                        if not await self._connection.send_part(history(bodies, first=first, last=False)):
                            return False
                        first = False
        except ChatGone:
            if not first:
                await self._connection.send_part(history([], first=False), last=True)
            raise
        except Unavailable as error:
            error.close = CloseCode.TRY_AGAIN_LATER
            raise
        return await self._connection.send_part(history([], first=first), last=True)


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
    # On a re-join the stored name counts.
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


def _present(args: UserJoin | SupportJoin, snapshot: Snapshot) -> Iterator[UserJoined | SupportJoined]:
    """Return who is in the chat, as far as the connection needs to be told."""
    is_agent, support_id = BY_JOIN[type(args)].is_agent, snapshot.support_id
    if not snapshot.first and (is_agent or (args.support_id and support_id)):
        return
    if not is_agent:
        yield UserJoined(user_id=args.user_id)
    if support_id:
        yield SupportJoined(args.user_id, support_id, snapshot.support_user_name)
