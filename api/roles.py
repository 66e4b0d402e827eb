"""Roles: what each participant of a chat may send, and with which ids (PROTOCOL sections 3 and 6)."""

from typing import Any, Final

from msgspec import Struct

from schemas.messages import Message, NewSupportMessage, NewUserMessage, Participant, SupportJoin, UserJoin
from schemas.registry import select


class Role(Struct, frozen=True, kw_only=True):
    """One kind of participant."""

    participant: Participant
    may_send: frozenset[type[Message]]
    """The messages that it may send once it has joined."""
    message_args: type[Any]
    """The args of its `ChatMessage`s; those of the other role are refused."""
    is_agent: bool
    """Whether it joins with an agent's token, where the server requires one, and has a `supportId`, which its messages
    must have. In messages of another role the `supportId` may be left out, or be the chat's."""
    waits: bool
    """Whether it may be in the queue."""


def _role(participant: Participant, **rest: Any) -> Role:
    types = frozenset(row.payload for row in select("chat", "in", role=participant))
    return Role(participant=participant, may_send=types, **rest)


USER: Final = _role("User", message_args=NewUserMessage, is_agent=False, waits=True)
SUPPORT: Final = _role("Support", message_args=NewSupportMessage, is_agent=True, waits=False)

BY_JOIN: Final[dict[type[UserJoin] | type[SupportJoin], Role]] = {UserJoin: USER, SupportJoin: SUPPORT}
"""The role of each kind of args of a `Join`."""
