"""Every type of message: this module is the table.

Decoders, the exported schemas, the AsyncAPI documents, the rights of the participants, and the tests of examples and
pages are made from it.
"""

import functools
import operator
from collections.abc import Iterable
from typing import Any, Final, Literal

from msgspec import Struct

from schemas import messages
from schemas.messages import Message, Participant

Direction = Literal["in", "out"]
"""Seen from the service: clients send the messages that come `in`."""
Channel = Literal["chat", "joins", "redis"]
"""The WebSocket `/chat/{chatId}`, the WebSocket `/joins`, the pub/sub channel `Join` between the services."""

VERSIONS: Final = (1,)
"""The versions of the protocol."""

_BOTH: Final[frozenset[Participant]] = frozenset(("User", "Support"))
_AGENTS: Final[frozenset[Participant]] = frozenset(("Support",))


class MessageType(Struct, frozen=True, kw_only=True):
    """One type of message, in one direction."""

    payload: Any
    """The struct of the whole frame; an annotated type for a bare text."""
    name: str
    """The name of the struct, and in the published documents."""
    direction: Direction
    channels: frozenset[Channel]
    versions: frozenset[int]
    roles: frozenset[Participant]
    """The participants who may send it or are sent it. On `/joins` an agent is a Support."""
    stored: bool
    """Whether it is stored in the chat's log, as an entry whose kind is the type and whose body is the args."""

    @property
    def type(self) -> str | None:
        """The `type` in the envelope, where there is one."""
        if not (isinstance(self.payload, type) and issubclass(self.payload, Message)):
            return None
        return str(self.payload.__struct_config__.tag)


def _row(
    payload: Any,
    direction: Direction,
    *channels: Channel,
    name: str | None = None,
    versions: Iterable[int] = VERSIONS,
    roles: frozenset[Participant] = _BOTH,
    stored: bool = False,
) -> MessageType:
    return MessageType(
        payload=payload,
        name=name or payload.__name__,
        direction=direction,
        channels=frozenset(channels),
        versions=frozenset(versions),
        roles=roles,
        stored=stored,
    )


MESSAGES: Final = (
    _row(messages.Id, "in", "joins", name="Claim", roles=_AGENTS),
    _row(messages.JoinRequest, "out", "joins", "redis", roles=_AGENTS),
    _row(messages.Join, "in", "chat"),
    _row(messages.NewChatMessage, "in", "chat"),
    _row(messages.Joined, "out", "chat", stored=True),
    _row(messages.ChatMessage, "out", "chat", stored=True),
    _row(messages.ChatHistory, "out", "chat"),
    _row(messages.ChatExpired, "out", "chat"),
    _row(messages.Error, "out", "chat", "joins"),
)
"""The types in the order in which a client meets them."""


def select(
    channel: Channel,
    direction: Direction | None = None,
    *,
    version: int | None = None,
    role: Participant | None = None,
) -> tuple[MessageType, ...]:
    """Return the types of a channel, of one direction, version or participant where given."""
    return tuple(
        row
        for row in MESSAGES
        if channel in row.channels
        and direction in (None, row.direction)
        and (version is None or version in row.versions)
        and (role is None or role in row.roles)
    )


def stored_kinds(version: int) -> frozenset[bytes]:
    """Return the kinds of the log's entries that are messages in a version."""
    return frozenset(row.type.encode() for row in MESSAGES if row.stored and row.type and version in row.versions)


def union(rows: Iterable[MessageType]) -> Any:
    """Make a union of several types, for decoders and JSON Schema."""
    return functools.reduce(operator.or_, (row.payload for row in rows))
