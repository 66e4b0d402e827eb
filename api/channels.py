"""The ChatServer's channels, as its AsyncAPI document describes them."""

from litestar_asyncapi import ChannelDefinition, OperationDefinition
from litestar_asyncapi.spec import Parameter

from live_support.docs_pages.asyncapi import close_codes, join_channel, messages, server
from live_support.service.spec import CHAT_SERVER
from schemas.examples import REGISTERED_USER

_CHAT = ChannelDefinition(
    key="chat",
    address="/chat/{chatId}",
    servers=server(CHAT_SERVER.key),
    parameters={
        "chatId": Parameter(
            description="As registration gave it: 32 lower-case hex digits (`^[0-9a-f]{32}$`). "
            "Anything else is refused at the handshake.",
            examples=[REGISTERED_USER["chatId"]],
        )
    },
    operations=[
        OperationDefinition(
            action="receive",
            operation_id="receiveFromParticipant",
            title="What a participant sends",
            description="A client sends one JSON object per text frame. The first is `Join`, within ten seconds. "
            "A refused frame is answered with `Error`; three malformed ones in a row close the connection. "
            "A `Join` of a Support needs an agent's token at the handshake, where the server asks for one "
            "(the security scheme `agentToken`).",
            messages=messages("chat", "in"),
        ),
        OperationDefinition(
            action="send",
            operation_id="sendToParticipant",
            title="What a participant is told",
            description="After `ChatHistory` the live messages follow without gap or repeat, in one order "
            "for everybody. The `ChatMessage` that comes back to its sender is the acknowledgement: "
            "it is stored.\n\n" + close_codes(),
            messages=messages("chat", "out"),
        ),
    ],
)

_JOIN = join_channel(
    OperationDefinition(
        action="send",
        operation_id="publishJoinRequest",
        title="What is published when a user enters the queue",
        description="A hint: the queue itself is kept in Redis, so a lost message loses nobody.",
    )
)

CHANNELS = [_CHAT, _JOIN]
