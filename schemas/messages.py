"""Every message of the wire, as typed structs.

The structs are the contract: the JSON Schema, AsyncAPI and OpenAPI files beside this module are exported
from them (`task schemas`). The envelope `{"type": ..., "args": {...}}` is a tagged union, and so are
the args that differ by participant (`from`, `participant`).
"""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.errors import ErrorCode
from schemas.ids import check_ids

Participant = Literal["User", "Support"]

ProblemCode = Literal[ErrorCode, "not_found", "method_not_allowed"]
"""The codes of `Error`, and those that only HTTP has."""

Id = Annotated[
    str,
    Meta(
        min_length=32,
        max_length=32,
        # Published here; checked by `check_ids`, unless an id is compared with a known one.
        extra_json_schema={"pattern": "^[0-9a-f]{32}$"},
        description="128 random bits as 32 lower-case hex digits",
    ),
]
# Only its published form has bounds: `null` and `""` count as absent. `check_ids` checks the others.
OptionalId = Annotated[
    str,
    Meta(
        extra_json_schema={"minLength": 32, "maxLength": 32, "pattern": "^[0-9a-f]{32}$"},
        description="128 random bits as 32 lower-case hex digits",
    ),
]
# The bounds of names and content are published here and enforced by `schemas.text`: they count after NFC.
Name = Annotated[
    str,
    Meta(
        extra_json_schema={"minLength": 1, "maxLength": 64},
        description="1..64 characters after NFC and trimming, some visible, none that controls or reorders text",
    ),
]
Content = Annotated[
    str,
    Meta(
        extra_json_schema={"minLength": 1, "maxLength": 4000},
        description="1..4000 characters after NFC, with line ends as \\n; some visible, no controls but tab",
    ),
]
Timestamp = Annotated[
    datetime,
    Meta(tz=True, description="UTC with six decimals, from the Redis clock; strictly rising within a chat"),
]


# Published as an open list: a client generated from a closed one would fail at a code that a later version adds.
def _open(codes: tuple[str, ...]) -> Meta:
    return Meta(
        examples=list(codes),
        description="for programs: one of these, or one that a later version adds, a refusal like any other",
    )


Code = Annotated[str, _open(get_args(ErrorCode))]
HttpCode = Annotated[str, _open(get_args(ProblemCode))]


class Args(Struct, rename="camel", omit_defaults=True):
    """Base of all payloads: camelCase on the wire, optional keys left out rather than sent as null.

    An empty optional key of a client's message counts as absent.
    """


class Message(Struct, tag_field="type"):
    """Base of the envelope; `type` is the class name unless said otherwise."""

    args: Args


# Client to server, on /chat/{chatId}.


class UserJoin(Args, tag_field="from", tag="User"):
    """The args of a User's `Join`."""

    user_id: Annotated[Id, Meta(description="the registered `userId`")]
    username: Annotated[str | None, Meta(description="not looked at: the registered name counts")] = None
    support_id: Annotated[OptionalId | None, Meta(description="from an earlier `Joined`; need not be current")] = None
    token: Annotated[str | None, Meta(description="needed in a chat opened by `POST /users`")] = None

    def __post_init__(self) -> None:
        """Read empty optional keys as absent, and check the ids."""
        self.support_id = self.support_id or None
        self.token = self.token or None
        check_ids(self.user_id, self.support_id)


class SupportJoin(Args, tag_field="from", tag="Support"):
    """The args of a Support's `Join`."""

    user_id: Annotated[Id, Meta(description="the `userId` of the join request")]
    username: Annotated[str | None, Meta(description="not looked at: the registered name counts")] = None
    support_user_name: Annotated[Name | None, Meta(description="the agent's name; needed on the first `Join`")] = None
    support_id: Annotated[OptionalId | None, Meta(description="on a re-join: the chat's `supportId`")] = None

    def __post_init__(self) -> None:
        """Read empty optional keys as absent, and check the ids."""
        self.support_id = self.support_id or None
        self.support_user_name = self.support_user_name or None
        check_ids(self.user_id, self.support_id)


class Join(Message):
    """The first frame of every chat connection: the participant joins, for the first time or again."""

    args: Annotated[UserJoin | SupportJoin, Meta(title="JoinArgs")]


class NewUserMessage(Args, tag_field="from", tag="User", kw_only=True):
    """The args of a `ChatMessage` as a User sends it."""

    user_id: Annotated[Id, Meta(description="the connection's own `userId`")]
    support_id: Annotated[OptionalId | None, Meta(description="absent before an agent came; else the chat's")] = None
    content: Content

    def __post_init__(self) -> None:
        """Read an empty optional key as absent."""
        if self.support_id == "":
            self.support_id = None


class NewSupportMessage(Args, tag_field="from", tag="Support", kw_only=True):
    """The args of a `ChatMessage` as a Support sends it."""

    user_id: Annotated[Id, Meta(description="the chat's `userId`")]
    support_id: Annotated[Id, Meta(description="the connection's own `supportId`")]
    support_user_name: Annotated[str | None, Meta(description="not looked at: that of the `Join` counts")] = None
    content: Content


class NewChatMessage(Message, tag="ChatMessage"):
    """A chat message as a participant sends it: the server stamps it, stores it and sends it to the whole chat."""

    args: Annotated[NewUserMessage | NewSupportMessage, Meta(title="NewChatMessageArgs")]


# Server to client, on /chat/{chatId}.


class UserJoined(Args, tag_field="participant", tag="User"):
    """The args of `Joined` for a User."""

    user_id: Id


class SupportJoined(Args, tag_field="participant", tag="Support"):
    """The args of `Joined` for a Support."""

    user_id: Id
    support_id: Annotated[Id, Meta(description="made by the server; the User learns it here")]
    support_user_name: Name


class Joined(Message):
    """A participant joined the chat."""

    args: Annotated[UserJoined | SupportJoined, Meta(title="JoinedArgs")]


class StoredMessage(Args, kw_only=True):
    """A chat message as it is stored: the args of `ChatMessage` and the items of `ChatHistory`."""

    user_id: Id
    support_id: Annotated[Id | UnsetType, Meta(description="absent while the chat has no agent")] = UNSET
    content: Content
    timestamp: Timestamp
    sender: Annotated[Participant, Meta(title="Participant", description="who wrote it")] = msgspec.field(name="from")


class ChatMessage(Message):
    """A stored chat message, to every connection of the chat; to its sender it is the acknowledgement."""

    args: StoredMessage


class ChatHistoryArgs(Args):
    """The args of `ChatHistory`."""

    messages: Annotated[list[StoredMessage], Meta(description="the whole conversation, oldest first")]


class ChatHistory(Message):
    """The conversation so far, to the connection that joined; live messages follow without gap or repeat."""

    args: ChatHistoryArgs


class ChatExpiredArgs(Args):
    """The args of `ChatExpired`."""

    chat_id: Id


class ChatExpired(Message):
    """The chat is expired or unknown: both look the same. The connection closes with 4510."""

    args: ChatExpiredArgs


class ErrorArgs(Args):
    """The args of `Error`."""

    code: Code
    message: Annotated[str, Meta(description="for people: one sentence")]
    retry_after_ms: Annotated[int, Meta(ge=0, description="milliseconds to wait before the next try")] | UnsetType = (
        UNSET
    )


class Error(Message):
    """A frame was refused. The connection stays open unless a close frame follows."""

    args: ErrorArgs


# Subscriber to agent on /joins, and the Redis pub/sub channel `Join`.


class JoinRequest(Args, tag_field="participant", tag="User"):
    """A waiting user: sent bare on `/joins`, published on the Redis channel `Join`."""

    user_id: Annotated[Id, Meta(description="what an agent sends back to claim the user")]
    chat_id: Annotated[Id, Meta(description="where to join the chat: `/chat/{chatId}`")]


# HTTP.


class NewUser(Args):
    """The body of `POST /users`."""

    username: Name


class RegisteredUser(Args):
    """The answer to `GET /user/join/{userName}`."""

    user_id: Annotated[Id, Meta(description="who the user is, in every later message")]
    username: Annotated[Name, Meta(description="the name as the server keeps it")]
    chat_id: Annotated[Id, Meta(description="where to chat: `/chat/{chatId}`")]


class RegisteredUserWithToken(RegisteredUser):
    """The answer to `POST /users`."""

    token: Annotated[str, Meta(description="secret of the user; every User `Join` of this chat needs it")]


class Problem(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Why a request was refused, in the form of RFC 9457 (`application/problem+json`)."""

    status: Annotated[int, Meta(ge=400, le=599, description="the HTTP status")]
    title: Annotated[str, Meta(description="what the status means")]
    detail: Annotated[str, Meta(description="for people: one sentence")]
    code: HttpCode | UnsetType = UNSET
    retry_after_ms: (
        Annotated[int, Meta(ge=0, description="of a 429 or 503: milliseconds to wait before the next try")] | UnsetType
    ) = UNSET


class Health(Struct, frozen=True, omit_defaults=True):
    """The answer to `GET /health`."""

    status: Annotated[Literal["ok", "unavailable"], Meta(title="HealthStatus", description="`ok` only with status 200")]
    reason: Annotated[str | UnsetType, Meta(description="why it is unavailable")] = UNSET
