"""The WebSocket subprotocols that a client may offer: a version of the protocol, and an agent's token.

Browsers cannot set headers at a handshake, but they can offer subprotocols. They fail a connection for which they
offered some and none was selected, so the version has a name that a browser offers beside its token.
"""

from collections.abc import Iterable
from typing import Any, Final, cast

from litestar.connection import ASGIConnection

V1: Final = "live-support.v1"
"""What is spoken without any subprotocol, too."""
BEARER: Final = "bearer."
"""Prefix of a token. Never selected, so it does not come back in the answer."""


def select(socket: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """Return the version to answer with; None where the client offers none that is spoken here."""
    return V1 if V1 in _offered(socket) else None


def tokens(socket: ASGIConnection[Any, Any, Any, Any]) -> list[str]:
    """Return the tokens that are offered."""
    return [name.removeprefix(BEARER) for name in _offered(socket) if name.startswith(BEARER)]


def _offered(socket: ASGIConnection[Any, Any, Any, Any]) -> Iterable[str]:
    return cast(Iterable[str], socket.scope.get("subprotocols", ()))
