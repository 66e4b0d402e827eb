"""Helpers with which the services describe their channels to the AsyncAPI plugin.

`receive` and `send` are seen from the service: a client sends the messages that a service receives.
"""

from collections.abc import Iterable
from dataclasses import replace
from inspect import getdoc
from typing import Any, Final

from litestar_asyncapi import ChannelDefinition, MessageDefinition, OperationDefinition
from litestar_asyncapi.spec import MessageExample, Reference, SecurityScheme, SecuritySchemeType, Server

from live_support import subprotocol
from live_support.chats.keys import JOIN_CHANNEL
from schemas.errors import CloseCode
from schemas.examples import MESSAGE_EXAMPLES
from schemas.registry import Channel, Direction, MessageType, select

_REDIS: Final = "redis"


def servers(name: str, key: str, description: str, port: int) -> dict[str, Server | Reference | dict[str, Any]]:
    """Describe the servers, a service and Redis, whose addresses only an installation knows."""
    return {
        key: {
            "host": "{host}",
            "protocol": "ws",
            "title": name,
            "description": f"{description} Behind a proxy that does TLS: `wss`.",
            "variables": {
                "host": {
                    "default": f"localhost:{port}",
                    "description": "Where you reach the service: its host and, unless it is the usual one, the port.",
                }
            },
        },
        _REDIS: {
            "host": "{host}",
            "protocol": "redis",
            "title": "Redis",
            "description": "Between the services. Clients neither see nor need it.",
            "variables": {"host": {"description": "What `LIVE_SUPPORT_REDIS_URL` names."}},
        },
    }


AGENT_SCHEME: Final = "agentToken"
"""The security scheme of agents, by its key."""


def security_schemes() -> dict[str, SecurityScheme | Reference]:
    """Describe how an agent is authenticated."""
    return {
        AGENT_SCHEME: SecurityScheme(
            type=SecuritySchemeType.HTTP,
            scheme="bearer",
            bearer_format="JWT",
            description="Only where `LIVE_SUPPORT_AGENT_JWT_KEY` or `LIVE_SUPPORT_AGENT_JWT_SECRET` is set. "
            "A JWT with `sub`, `exp` and a `scope` that contains `agent`, in the handshake: the header "
            "`Authorization: Bearer <jwt>`, or in a browser "
            f"`new WebSocket(url, ['{subprotocol.V1}', '{subprotocol.BEARER}<jwt>'])`. "
            "Without a valid one the connection is closed with 4501, and so it is when the token ends.",
        )
    }


def agents_only() -> list[SecurityScheme | Reference]:
    """Require an agent's token."""
    return [Reference(ref=f"#/components/securitySchemes/{AGENT_SCHEME}")]


def server(key: str) -> list[Reference]:
    """Bind a channel to a server."""
    return [Reference(ref=f"#/servers/{key}")]


def messages(channel: Channel, direction: Direction) -> list[MessageDefinition]:
    """Describe the messages of a channel by their structs: docstring, fields and examples."""
    return [_message(row) for row in select(channel, direction)]


def _message(row: MessageType) -> MessageDefinition:
    return MessageDefinition(
        name=row.name,
        title=row.name if row.type in (None, row.name) else f"{row.type}, as a client sends it",
        description=getdoc(row.payload),
        payload=row.payload,
        content_type="application/json",
        examples=[
            MessageExample(name=name, payload=shown) for name, shown in MESSAGE_EXAMPLES.get(row.payload, {}).items()
        ],
    )


def join_channel(operation: OperationDefinition) -> ChannelDefinition:
    """Describe the Redis pub/sub channel `Join`, as one of its two ends uses it."""
    inside = f"On Redis, between the services: clients do not see it. {operation.description}"
    return ChannelDefinition(
        key="joinRequests",
        address=JOIN_CHANNEL,
        servers=server(_REDIS),
        operations=[replace(operation, description=inside, messages=messages("redis", "out"))],
    )


def close_codes(codes: Iterable[CloseCode] = CloseCode) -> str:
    """Tabulate close codes in Markdown."""
    rows = [f"| {code.value} | {code.reason} | {code.advice} |" for code in codes]
    return "\n".join(["| close code | reason | a client should |", "| --- | --- | --- |", *rows])
