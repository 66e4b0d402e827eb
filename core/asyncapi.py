"""The words in which the services describe their channels to the AsyncAPI plugin.

`receive` and `send` are the service's: a client sends what a service receives.
"""

from collections.abc import Iterable
from dataclasses import replace
from inspect import getdoc
from typing import Any, Final

from litestar_asyncapi import ChannelDefinition, MessageDefinition, OperationDefinition
from litestar_asyncapi.spec import MessageExample, Reference
from msgspec import Struct

from core.keys import JOIN_CHANNEL
from schemas.errors import CloseCode
from schemas.examples import MESSAGE_EXAMPLES
from schemas.messages import JoinRequest

REDIS: Final[dict[str, dict[str, Any]]] = {
    "redis": {
        "host": "localhost:6379",
        "protocol": "redis",
        "title": "Redis",
        "description": "Between the services; clients do not see it.",
    }
}
"""The server of the Redis channels, by its key."""


def server(key: str) -> list[Reference]:
    """Bind a channel to a server."""
    return [Reference(ref=f"#/servers/{key}")]


def message(struct: type[Struct]) -> MessageDefinition:
    """Describe a message by its struct: docstring, fields and examples."""
    return MessageDefinition(
        name=struct.__name__,
        title=struct.__name__,
        description=getdoc(struct),
        payload=struct,
        content_type="application/json",
        examples=[MessageExample(name=name, payload=payload) for name, payload in MESSAGE_EXAMPLES[struct].items()],
    )


def join_channel(operation: OperationDefinition) -> ChannelDefinition:
    """Describe the Redis pub/sub channel of the seed, as one of its two ends uses it."""
    return ChannelDefinition(
        key="joinRequests",
        address=JOIN_CHANNEL,
        servers=server("redis"),
        operations=[replace(operation, messages=[message(JoinRequest)])],
    )


def close_codes(codes: Iterable[CloseCode] = CloseCode) -> str:
    """Tabulate close codes in Markdown."""
    rows = [f"| {code.value} | {code.reason} | {'yes' if code.reconnect else 'no'} |" for code in codes]
    return "\n".join(["| close code | reason | reconnect |", "| --- | --- | --- |", *rows])
