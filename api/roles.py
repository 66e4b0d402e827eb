"""Roles: what each participant of a chat may send, and which ids its messages must have (PROTOCOL sections 3 and 6)."""

from typing import Any, Final

from msgspec import Struct

from schemas.messages import Message, NewSupportMessage, NewUserMessage, Participant, SupportJoin, UserJoin
from schemas.registry import select


class Role(Struct, frozen=True, kw_only=True):
    """One kind of participant."""

    participant: Participant
    may_send: frozenset[type[Message]]
    """Once it has joined."""
    message_args: type[Any]
    """The args of its `ChatMessage`s: those of the other role are forged."""
    is_agent: bool
    """Whether it joins with an agent's token, where the server asks for one, and under a `supportId` of its own, which
    its messages must have. In another's messages the `supportId` may be left out, or be the chat's."""
    waits: bool
    """Whether it may be in the queue."""


def _role(participant: Participant, **rest: Any) -> Role:
    types = frozenset(row.payload for row in select("chat", "in", role=participant))
    return Role(participant=participant, may_send=types, **rest)


USER: Final = _role("User", message_args=NewUserMessage, is_agent=False, waits=True)
SUPPORT: Final = _role("Support", message_args=NewSupportMessage, is_agent=True, waits=False)

BY_JOIN: Final[dict[type[UserJoin] | type[SupportJoin], Role]] = {UserJoin: USER, SupportJoin: SUPPORT}
"""Which role the args of a `Join` ask for."""
