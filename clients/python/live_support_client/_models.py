# Generated from schemas/*.json by `task sdk`; do not edit.
"""What goes over the wire, as typed structs."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field


class ChatExpiredArgs(Struct, frozen=True, kw_only=True):
    """The args of `ChatExpired`."""

    chat_id: Annotated[
        str, Meta(description="128 random bits as 32 lower-case hex digits", max_length=32, min_length=32)
    ] = field(name="chatId")


class ErrorArgs(Struct, frozen=True, kw_only=True):
    """The args of `Error`."""

    code: Annotated[
        str, Meta(description="for programs: one of these, or one that a later version adds, a refusal like any other")
    ]
    message: Annotated[str, Meta(description="for people: one sentence")]
    retry_after_ms: Annotated[int, Meta(description="milliseconds to wait before the next try", ge=0)] | UnsetType = (
        field(name="retryAfterMs", default=UNSET)
    )


class Health(Struct, frozen=True, kw_only=True):
    """The answer to `GET /health`."""

    status: Annotated[Literal["ok", "unavailable"], Meta(description="`ok` only with status 200")]
    reason: Annotated[str, Meta(description="why it is unavailable")] | UnsetType = UNSET


class JoinRequest(Struct, frozen=True, kw_only=True):
    """A waiting user: sent bare on `/joins`, published on the Redis channel `Join`."""

    participant: Literal["User"]
    user_id: Annotated[
        str, Meta(description="what an agent sends back to claim the user", max_length=32, min_length=32)
    ] = field(name="userId")
    chat_id: Annotated[
        str, Meta(description="where to join the chat: `/chat/{chatId}`", max_length=32, min_length=32)
    ] = field(name="chatId")


class NewSupportMessage(Struct, frozen=True, kw_only=True, tag_field="from", tag="Support"):
    """The args of a `ChatMessage` as a Support sends it."""

    user_id: Annotated[str, Meta(description="the chat's `userId`", max_length=32, min_length=32)] = field(
        name="userId"
    )
    support_id: Annotated[str, Meta(description="the connection's own `supportId`", max_length=32, min_length=32)] = (
        field(name="supportId")
    )
    content: Annotated[
        str,
        Meta(
            description="1..4000 characters after NFC, with line ends as \\n; some visible, no controls but tab",
            max_length=4000,
            min_length=1,
        ),
    ]
    support_user_name: Annotated[str, Meta(description="not looked at: that of the `Join` counts")] | UnsetType = field(
        name="supportUserName", default=UNSET
    )


class NewUser(Struct, frozen=True, kw_only=True):
    """The body of `POST /users`."""

    username: Annotated[
        str,
        Meta(
            description="1..64 characters after NFC and trimming, some visible, none that controls or reorders text",
            max_length=64,
            min_length=1,
        ),
    ]


class NewUserMessage(Struct, frozen=True, kw_only=True, tag_field="from", tag="User"):
    """The args of a `ChatMessage` as a User sends it."""

    user_id: Annotated[str, Meta(description="the connection's own `userId`", max_length=32, min_length=32)] = field(
        name="userId"
    )
    content: Annotated[
        str,
        Meta(
            description="1..4000 characters after NFC, with line ends as \\n; some visible, no controls but tab",
            max_length=4000,
            min_length=1,
        ),
    ]
    support_id: (
        Annotated[str, Meta(description="absent before an agent came; else the chat's", max_length=32, min_length=32)]
        | UnsetType
    ) = field(name="supportId", default=UNSET)


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was refused, in the form of RFC 9457 (`application/problem+json`)."""

    status: Annotated[int, Meta(description="the HTTP status", ge=400, le=599)]
    title: Annotated[str, Meta(description="what the status means")]
    detail: Annotated[str, Meta(description="for people: one sentence")]
    code: (
        Annotated[
            str,
            Meta(description="for programs: one of these, or one that a later version adds, a refusal like any other"),
        ]
        | UnsetType
    ) = UNSET
    retry_after_ms: (
        Annotated[int, Meta(description="of a 429 or 503: milliseconds to wait before the next try", ge=0)] | UnsetType
    ) = field(name="retryAfterMs", default=UNSET)


class RegisteredUser(Struct, frozen=True, kw_only=True):
    """The answer to `GET /user/join/{userName}`."""

    user_id: Annotated[
        str, Meta(description="who the user is, in every later message", max_length=32, min_length=32)
    ] = field(name="userId")
    username: Annotated[str, Meta(description="the name as the server keeps it", max_length=64, min_length=1)]
    chat_id: Annotated[str, Meta(description="where to chat: `/chat/{chatId}`", max_length=32, min_length=32)] = field(
        name="chatId"
    )


class RegisteredUserWithToken(Struct, frozen=True, kw_only=True):
    """The answer to `POST /users`."""

    user_id: Annotated[
        str, Meta(description="who the user is, in every later message", max_length=32, min_length=32)
    ] = field(name="userId")
    username: Annotated[str, Meta(description="the name as the server keeps it", max_length=64, min_length=1)]
    chat_id: Annotated[str, Meta(description="where to chat: `/chat/{chatId}`", max_length=32, min_length=32)] = field(
        name="chatId"
    )
    token: Annotated[str, Meta(description="secret of the user; every User `Join` of this chat needs it")]


class StoredMessage(Struct, frozen=True, kw_only=True):
    """A chat message as it is stored: the args of `ChatMessage` and the items of `ChatHistory`."""

    user_id: Annotated[
        str, Meta(description="128 random bits as 32 lower-case hex digits", max_length=32, min_length=32)
    ] = field(name="userId")
    content: Annotated[
        str,
        Meta(
            description="1..4000 characters after NFC, with line ends as \\n; some visible, no controls but tab",
            max_length=4000,
            min_length=1,
        ),
    ]
    timestamp: Annotated[
        datetime, Meta(description="UTC with six decimals, from the Redis clock; strictly rising within a chat")
    ]
    sender: Annotated[Literal["Support", "User"], Meta(description="who wrote it")] = field(name="from")
    support_id: (
        Annotated[str, Meta(description="128 random bits as 32 lower-case hex digits", max_length=32, min_length=32)]
        | UnsetType
    ) = field(name="supportId", default=UNSET)


class SupportJoin(Struct, frozen=True, kw_only=True, tag_field="from", tag="Support"):
    """The args of a Support's `Join`."""

    user_id: Annotated[str, Meta(description="the `userId` of the join request", max_length=32, min_length=32)] = field(
        name="userId"
    )
    username: Annotated[str, Meta(description="not looked at: the registered name counts")] | UnsetType = UNSET
    support_user_name: (
        Annotated[str, Meta(description="the agent's name; needed on the first `Join`", max_length=64, min_length=1)]
        | UnsetType
    ) = field(name="supportUserName", default=UNSET)
    support_id: (
        Annotated[str, Meta(description="on a re-join: the chat's `supportId`", max_length=32, min_length=32)]
        | UnsetType
    ) = field(name="supportId", default=UNSET)


class SupportJoined(Struct, frozen=True, kw_only=True, tag_field="participant", tag="Support"):
    """The args of `Joined` for a Support."""

    user_id: Annotated[
        str, Meta(description="128 random bits as 32 lower-case hex digits", max_length=32, min_length=32)
    ] = field(name="userId")
    support_id: Annotated[
        str, Meta(description="made by the server; the User learns it here", max_length=32, min_length=32)
    ] = field(name="supportId")
    support_user_name: Annotated[
        str,
        Meta(
            description="1..64 characters after NFC and trimming, some visible, none that controls or reorders text",
            max_length=64,
            min_length=1,
        ),
    ] = field(name="supportUserName")


class UserJoin(Struct, frozen=True, kw_only=True, tag_field="from", tag="User"):
    """The args of a User's `Join`."""

    user_id: Annotated[str, Meta(description="the registered `userId`", max_length=32, min_length=32)] = field(
        name="userId"
    )
    username: Annotated[str, Meta(description="not looked at: the registered name counts")] | UnsetType = UNSET
    support_id: (
        Annotated[str, Meta(description="from an earlier `Joined`; need not be current", max_length=32, min_length=32)]
        | UnsetType
    ) = field(name="supportId", default=UNSET)
    token: Annotated[str, Meta(description="needed in a chat opened by `POST /users`")] | UnsetType = UNSET


class UserJoined(Struct, frozen=True, kw_only=True, tag_field="participant", tag="User"):
    """The args of `Joined` for a User."""

    user_id: Annotated[
        str, Meta(description="128 random bits as 32 lower-case hex digits", max_length=32, min_length=32)
    ] = field(name="userId")


class ChatExpired(Struct, frozen=True, kw_only=True, tag_field="type", tag="ChatExpired"):
    """The chat is expired or unknown: both look the same. The connection closes with 4510."""

    args: ChatExpiredArgs


class ChatHistoryArgs(Struct, frozen=True, kw_only=True):
    """The args of `ChatHistory`."""

    messages: Annotated[list[StoredMessage], Meta(description="the whole conversation, oldest first")]


class ChatMessage(Struct, frozen=True, kw_only=True, tag_field="type", tag="ChatMessage"):
    """A stored chat message, to every connection of the chat; to its sender it is the acknowledgement."""

    args: StoredMessage


class Error(Struct, frozen=True, kw_only=True, tag_field="type", tag="Error"):
    """A frame was refused. The connection stays open unless a close frame follows."""

    args: ErrorArgs


class Join(Struct, frozen=True, kw_only=True, tag_field="type", tag="Join"):
    """The first frame of every chat connection: the participant joins, for the first time or again."""

    args: UserJoin | SupportJoin


class Joined(Struct, frozen=True, kw_only=True, tag_field="type", tag="Joined"):
    """A participant joined the chat."""

    args: UserJoined | SupportJoined


class NewChatMessage(Struct, frozen=True, kw_only=True, tag_field="type", tag="ChatMessage"):
    """A chat message as a participant sends it: the server stamps it, stores it and sends it to the whole chat."""

    args: NewUserMessage | NewSupportMessage


ChatClientMessage: TypeAlias = Join | NewChatMessage


class ChatHistory(Struct, frozen=True, kw_only=True, tag_field="type", tag="ChatHistory"):
    """The conversation so far, to the connection that joined; live messages follow without gap or repeat."""

    args: ChatHistoryArgs


ChatServerMessage: TypeAlias = ChatExpired | ChatHistory | ChatMessage | Error | Joined
