"""The Subscriber's channels, as its AsyncAPI document describes them."""

from litestar_asyncapi import ChannelDefinition, MessageDefinition, OperationDefinition
from litestar_asyncapi.spec import MessageExample

from live_support.docs_pages.asyncapi import agents_only, close_codes, join_channel, messages, server
from live_support.service.spec import SUBSCRIBER
from schemas.errors import CloseCode
from schemas.examples import CLAIM
from schemas.json_schema import json_schemas
from schemas.messages import Id

_JOINS = ChannelDefinition(
    key="joins",
    address="/joins",
    servers=server(SUBSCRIBER.key),
    operations=[
        OperationDefinition(
            action="receive",
            operation_id="receiveClaim",
            title="What an agent sends",
            security=agents_only(),
            description="The agent's click. Exactly one agent wins, and hears nothing; the others get "
            "`Error` `already_claimed`. The user comes back unless the agent joins the chat before the "
            "claim's lease ends.",
            messages=[
                MessageDefinition(
                    name="Claim",
                    title="Claim",
                    description="The bare `userId` in a text frame; quotes and white space around it are tolerated.",
                    payload={"title": "Claim", **json_schemas([Id], "")[0][0]},
                    content_type="text/plain",
                    examples=[MessageExample(name="the userId of a join request", payload=CLAIM)],
                )
            ],
        ),
        OperationDefinition(
            action="send",
            operation_id="sendToAgent",
            title="What an agent is told",
            security=agents_only(),
            description="First every waiting user, oldest first, then each new one: once per stay in the "
            "queue. A `JoinRequest` comes bare, without the envelope of the other messages.\n\n"
            + close_codes(
                code for code in CloseCode if code <= CloseCode.NOT_AUTHENTICATED and code != CloseCode.RATE_LIMITED
            ),
            messages=messages("joins", "out"),
        ),
    ],
)

_JOIN = join_channel(
    OperationDefinition(
        action="receive",
        operation_id="receiveJoinRequest",
        title="What says that a user has entered the queue",
        description="A hint: on it, and once a second without it, the queue is read.",
    )
)

CHANNELS = [_JOINS, _JOIN]
