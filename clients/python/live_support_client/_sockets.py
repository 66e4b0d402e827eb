# Generated from schemas/*.json by `task sdk`; do not edit.
"""The WebSockets: their addresses, and what goes either way, typed."""

from typing import TypeAlias

from live_support_client import _models as models
from live_support_client._socket import Decoder, Socket
from live_support_client._urls import segment

ChatClientMessage: TypeAlias = models.Join | models.NewChatMessage
"""What a participant sends."""

ChatServerMessage: TypeAlias = (
    models.ChatExpired | models.ChatHistory | models.ChatMessage | models.Error | models.Joined
)
"""What a participant is told."""


class ChatSocket(Socket[ChatClientMessage, ChatServerMessage]):
    """One connection to `/chat/{chatId}` of the ChatServer."""

    decoders = (
        Decoder[ChatServerMessage](
            models.ChatExpired | models.ChatHistory | models.ChatMessage | models.Error | models.Joined,
            tag="type",
            known=["ChatExpired", "ChatHistory", "ChatMessage", "Error", "Joined"],
        ),
    )

    @staticmethod
    def address(chat_id: str) -> str:
        """The path to connect to."""
        return f"/chat/{segment(chat_id)}"


JoinsClientMessage: TypeAlias = str
"""What an agent sends (text, no JSON: Claim)."""

JoinsServerMessage: TypeAlias = models.Error | models.JoinRequest
"""What an agent is told."""


class JoinsSocket(Socket[JoinsClientMessage, JoinsServerMessage]):
    """One connection to `/joins` of the Subscriber."""

    decoders = (
        Decoder[JoinsServerMessage](
            models.Error,
            tag="type",
            known=["Error"],
        ),
        Decoder[JoinsServerMessage](
            models.JoinRequest,
            tag="participant",
            known=["User"],
        ),
    )

    @staticmethod
    def address() -> str:
        """The path to connect to."""
        return "/joins"
